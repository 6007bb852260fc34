/**
 * Bytes as whole words, the first byte lowest: four are read or written at once. The last bytes, up to three, are in none.
 * A copy where the bytes do not begin at a word. Signed, because V8 keeps larger numbers on the heap until it has compiled a loop.
 */
export function words(bytes: Uint8Array): Int32Array {
  const own = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Int32Array(own.buffer, own.byteOffset, own.length >> 2);
}

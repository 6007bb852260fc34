/**
 * Bytes as whole words, the first byte lowest: four are read or written at once. The last bytes, up to three, are in none.
 * A copy where the bytes do not begin at a word. Signed, because V8 keeps larger numbers on the heap until it has compiled a loop.
 */
export function words(bytes: Uint8Array): Int32Array {
  const own = aligned(bytes);
  return new Int32Array(own.buffer, own.byteOffset, own.length >> 2);
}

/** The same bytes, or a copy of them where they do not begin at eight bytes. */
export const aligned = (bytes: Uint8Array) => (isAligned(bytes) ? bytes : bytes.slice());

export const isAligned = (bytes: Uint8Array) => bytes.byteOffset % 8 === 0;

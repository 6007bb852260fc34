/** GIF89a: the header and the screen's descriptor; then a table of colors, where its flags say so. */
const HEAD_BYTES = 13;
const IMAGE_BYTES = 10;
const [EXTENSION, IMAGE, TRAILER] = [0x21, 0x2c, 0x3b];
const GRAPHIC_CONTROL = 0xf9;

/** Bytes of the table of colors that a descriptor's flags announce. */
const tableBytes = (flags: number) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);

/** Where the data that begins at `at`, in pieces of up to 255 bytes, has ended; past the file when it does not end. */
function endOfPieces(gif: Buffer, at: number): number {
  while (at < gif.length && gif[at] !== 0) at += 1 + gif[at]!;
  return at + 1;
}

/** The file with its first frame alone: decoders look through all of them, and a frame can have a dozen bytes. */
export function stripGif(gif: Buffer): Buffer {
  if (gif.length < HEAD_BYTES) return gif;
  const head = gif.subarray(0, HEAD_BYTES + tableBytes(gif[10]!));
  let control = Buffer.alloc(0); // the last before the frame counts
  let at = head.length;
  while (at + 2 < gif.length) {
    if (gif[at] === EXTENSION) {
      const end = endOfPieces(gif, at + 2);
      if (gif[at + 1] === GRAPHIC_CONTROL) control = gif.subarray(at, end) as Buffer<ArrayBuffer>;
      at = end;
    } else if (gif[at] === IMAGE && at + IMAGE_BYTES < gif.length) {
      const data = at + IMAGE_BYTES + tableBytes(gif[at + 9]!) + 1; // behind the bits of its first code
      const end = endOfPieces(gif, data);
      if (end > gif.length) return gif;
      return Buffer.concat([head, control, gif.subarray(at, end), Buffer.from([TRAILER])]);
    } else {
      return gif;
    }
  }
  return gif;
}

import { ImageError } from "../image-error.ts";

/** Each scan of a progressive file is a pass over the whole picture. Encoders make about ten. */
const MAX_SCANS = 100;

const [SOI, EOI, SOS, COM] = [0xd8, 0xd9, 0xda, 0xfe];
const [APP0, APP1, APP14, APP15] = [0xe0, 0xe1, 0xee, 0xef];
const EXIF = Buffer.from("Exif\0\0", "latin1");

/** Markers that stand alone (ITU T.81, table B.1): TEM, the restarts, SOI. */
const isAlone = (marker: number) => marker === 0x01 || (marker >= 0xd0 && marker <= SOI);

/** JFIF and Adobe say how colors are stored, EXIF how the picture is turned; other data of applications changes no pixel. */
function isKept(marker: number, segment: Buffer): boolean {
  if (marker === COM) return false;
  if (marker < APP0 || marker > APP15) return true;
  return marker === APP0 || marker === APP14 || (marker === APP1 && segment.subarray(4, 10).equals(EXIF));
}

/**
 * The file without comments, profiles and the like, up to its end of image.
 * @throws {ImageError} when it has more scans than pictures have
 */
export function stripJpeg(jpeg: Buffer): Buffer {
  const kept: Buffer[] = [];
  let [from, at, scans] = [0, 2, 0]; // what is to be kept begins at `from`
  for (;;) {
    const found = jpeg.indexOf(0xff, at);
    if (found === -1 || found + 4 > jpeg.length) break;
    const marker = jpeg[found + 1]!;
    if (marker === EOI) return Buffer.concat([...kept, jpeg.subarray(from, found + 2)]);
    if (marker === 0x00 || isAlone(marker)) {
      at = found + 2; // a byte of data, or a marker that has none
      continue;
    }
    if (marker === 0xff) {
      at = found + 1; // filling
      continue;
    }
    const end = found + 2 + jpeg.readUInt16BE(found + 2);
    const segment = jpeg.subarray(found, end);
    if (marker === SOS && ++scans > MAX_SCANS) {
      throw new ImageError(`the jpeg image has more than the ${MAX_SCANS} scans that are allowed`);
    }
    if (!isKept(marker, segment)) {
      kept.push(jpeg.subarray(from, found));
      from = Math.min(end, jpeg.length);
    }
    at = end;
  }
  return Buffer.concat([...kept, jpeg.subarray(from)]);
}

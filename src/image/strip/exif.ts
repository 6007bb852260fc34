import { ImageError } from "../image-error.ts";

/** What a JPEG can have in one segment. EXIF is kept for the orientation alone, and its parser is handed no more than this. */
const MAX_EXIF_BYTES = 65_533;

/** @throws {ImageError} when it is too long to be read: to leave it out would leave its orientation out */
export function checkExif(bytes: number): void {
  if (bytes > MAX_EXIF_BYTES) {
    throw new ImageError(`the image has ${bytes} bytes of EXIF: at most ${MAX_EXIF_BYTES} are allowed`);
  }
}

/** The bytes are not a picture that this service takes; the message says what is wrong and what is allowed. Trying again cannot help. */
export class ImageError extends Error {
  override readonly name = "ImageError";
}

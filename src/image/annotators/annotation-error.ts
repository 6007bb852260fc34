/** The annotator cannot make a map of what it was given; the message says why and what is allowed. Trying again cannot help. */
export class AnnotationError extends Error {
  override readonly name = "AnnotationError";
}

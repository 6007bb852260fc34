/** What a file called .safetensors is instead, by its first bytes: a safetensors file begins with a length of 8 bytes, most of them 0. */

const WRONG = "the download went wrong";
const OTHER_THINGS: readonly (readonly [RegExp, string])[] = [
  [/^version https:\/\/git-lfs/, "a git-lfs pointer, not the file it stands for: fetch that with `git lfs pull`"],
  [/^(\u00ef\u00bb\u00bf)?\s*<(!doctype|!--|html|head|body|\?xml|error)/i, `a web page, not a model: ${WRONG}`],
  [/^(\u00ef\u00bb\u00bf)?\s*\{\s*"/, `a server's error message, not a model: ${WRONG}`],
  [/^PK/, "a zip archive such as a pickle, which can run code, under the name of a .safetensors file"],
  [/^GGUF/, "a GGUF file, which is not supported"],
];
/** The same, by the bytes in hexadecimal. */
const BINARY: typeof OTHER_THINGS = [
  [/^800[2-5]/, "a pickle, which can run code, under the name of a .safetensors file"],
  [/^(52617221|377abcaf|1f8b|425a68|fd377a58)/, "a packed archive, not the model in it: unpack it"], // rar, 7z, gzip, bzip2, xz
  [/^(89504e47|ffd8ff|52494646|47494638)/, "a picture, not a model"], // PNG, JPEG, WebP, GIF
  [/^89484446/, "an HDF5 file of Keras, which is not supported"],
];

/** Characters of a message that are shown. */
const SHOWN = 60;

/** @param head the first bytes of a file of `size`; null where nothing of it is known */
export function otherThing(head: Buffer, size: number): string | null {
  const text = head.toString("latin1");
  const hex = head.toString("hex");
  const found = OTHER_THINGS.find(([pattern]) => pattern.test(text)) ?? BINARY.find(([pattern]) => pattern.test(hex));
  if (found !== undefined) return found[1];
  if (size === 0) return `an empty file: ${WRONG}, or has not begun`;
  if (head.length > 0 && head.every((byte) => byte === 0)) return "a file of zeros: a download that was not finished";
  const [line] = /^[\x20-\x7e]{8,}/.exec(text) ?? [];
  return line === undefined ? null : `text, not a model: "${line.slice(0, SHOWN)}": ${WRONG}`;
}

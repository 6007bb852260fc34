// A picture that goes into a request: its bytes, and how a request says them.
import { call } from "./api.js";

/** What is larger is uploaded first and named in the request. */
const MOST_INLINE_BYTES = 1_000_000;
/** What the service decodes; anything else that the browser can show is made a PNG. */
const TAKEN = new Set(["image/png", "image/jpeg", "image/webp", "image/gif"]);
const SUFFIXES = /** @type {Record<string, string>} */ ({
  "image/jpeg": "jpg",
  "image/webp": "webp",
  "image/gif": "gif",
});

export class Picture {
  /** @type {{id: string, expires_at: string} | undefined} */
  #upload;

  /**
   * @param {Blob} blob
   * @param {string} about in words, for who cannot see it
   */
  constructor(blob, about) {
    this.blob = blob;
    this.about = about;
    this.url = URL.createObjectURL(blob);
  }

  /** "png", "jpg", …: the end of a file's name. */
  get suffix() {
    return SUFFIXES[this.blob.type] ?? "png";
  }

  /** What a request says for it: a data: URI, or `upload:` and an id. @returns {Promise<string>} */
  async source() {
    if (this.blob.size <= MOST_INLINE_BYTES) return dataUri(this.blob);
    const minute = 60_000;
    if (this.#upload === undefined || Date.parse(this.#upload.expires_at) < Date.now() + minute) {
      const headers = { "Content-Type": this.blob.type };
      this.#upload = await (await call("v1/uploads", { method: "POST", headers, body: this.blob })).json();
    }
    return `upload:${this.#upload?.id}`;
  }
}

/** @param {Blob} blob @returns {Promise<string>} */
function dataUri(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** A picture of a file that was dropped or chosen. @param {File} file @throws when the browser cannot show it either */
export async function pictureOfFile(file) {
  if (TAKEN.has(file.type)) return new Picture(file, file.name);
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} is no picture: a PNG, JPEG, WebP or GIF is.`);
  });
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  return pictureOfCanvas(canvas, file.name);
}

/** @param {HTMLCanvasElement} canvas @param {string} about @returns {Promise<Picture>} */
export function pictureOfCanvas(canvas, about) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => {
      if (blob === null) reject(new Error("The browser cannot make a PNG of this."));
      else resolve(new Picture(blob, about));
    }, "image/png");
  });
}

/** A picture of a `data:` URI. Decoded by hand: the page may not fetch such addresses. @param {string} uri @param {string} about */
export function pictureOfUri(uri, about) {
  const [head = "", base64 = ""] = uri.split(",", 2);
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new Picture(new Blob([bytes], { type: /^data:([^;]+)/.exec(head)?.[1] ?? "image/png" }), about);
}

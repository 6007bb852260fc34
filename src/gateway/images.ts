/**
 * Images in: the bytes behind what a request names, checked. They are fetched here, before the request is accepted, and
 * not by the worker: what is accepted can then be made again and again, whatever becomes of an address; the client hears
 * at once that an image cannot be had; and no GPU waits for a stranger's server.
 */
import pLimit from "p-limit";
import type { Config } from "../config.ts";
import { NotReady, Refused } from "../errors.ts";
import { decode, ImageError } from "../image/decode.ts";
import type { Pixels } from "../image/pixels.ts";
import { type Outbound, OutboundError } from "../outbound.ts";
import { MAX_IMAGE_PIXELS } from "../schema.ts";
import { imageHash } from "../storage.ts";
import type { Uploads } from "../uploads.ts";

/** The time for fetching all images of a request, redirects and slow servers included. */
const FETCH_MS = 15_000;
/** Requests that fetch at once; each can hold {@link MAX_IMAGES_TOGETHER} images in memory. */
const MAX_FETCHING = 32;
/** What the images of one request may have together, in images of MAX_IMAGE_BYTES. */
const MAX_IMAGES_TOGETHER = 4;

export interface TakenImage {
  hash: string;
  bytes: Buffer;
}

const isAddress = (source: string) => source.startsWith("http");

export class ImagesIn {
  readonly #outbound: Outbound;
  readonly #uploads: Uploads;
  readonly #maxBytes: number;
  readonly #fetching = pLimit(MAX_FETCHING);

  constructor({ MAX_IMAGE_BYTES }: Pick<Config, "MAX_IMAGE_BYTES">, outbound: Outbound, uploads: Uploads) {
    this.#outbound = outbound;
    this.#uploads = uploads;
    this.#maxBytes = MAX_IMAGE_BYTES;
  }

  /**
   * The images of a request, all of them or none.
   * @param named what the client calls each (a data: URI, an address, `upload:<id>`), by the path of its field
   * @param owner whose uploads can be named
   * @returns by the path of the field; what is named twice is fetched once
   * @throws {Refused} naming the field: 422 when an image cannot be had or is none, 413 when there are too many bytes
   */
  async take(named: ReadonlyMap<string, string>, owner: string): Promise<Map<string, TakenImage>> {
    if (named.size === 0) return new Map();
    const over = AbortSignal.timeout(FETCH_MS);
    if (![...named.values()].some(isAddress)) return this.#takeAll(named, owner, over);
    return this.#fetching(() => {
      if (over.aborted) throw new NotReady(["too many requests are waiting for images from elsewhere"]);
      return this.#takeAll(named, owner, over);
    });
  }

  async #takeAll(named: ReadonlyMap<string, string>, owner: string, over: AbortSignal) {
    const failed = new AbortController();
    const signal = AbortSignal.any([over, failed.signal]);
    const bySource = new Map<string, Promise<TakenImage>>();
    const checked = new Set<string>();
    let together = 0;
    const takeOne = async (source: string, path: string): Promise<TakenImage> => {
      const bytes = await this.#read(source, path, owner, signal);
      const hash = imageHash(bytes);
      if (checked.has(hash)) return { hash, bytes };
      checked.add(hash);
      together += bytes.length;
      if (together > MAX_IMAGES_TOGETHER * this.#maxBytes) {
        throw tooLarge(`the images have more than ${MAX_IMAGES_TOGETHER * this.#maxBytes} bytes together`, path);
      }
      if (!source.startsWith("upload:")) await check(bytes, path);
      return { hash, bytes };
    };
    for (const [path, source] of named) {
      if (!bySource.has(source)) bySource.set(source, takeOne(source, path));
    }
    try {
      await Promise.all(bySource.values());
    } finally {
      failed.abort(); // the first that fails speaks for all: the others need not be waited for
    }
    const taken = new Map<string, TakenImage>();
    for (const [path, source] of named) taken.set(path, await bySource.get(source)!);
    return taken;
  }

  async #read(source: string, path: string, owner: string, signal: AbortSignal): Promise<Buffer> {
    if (isAddress(source)) return this.#fetch(source, path, signal);
    if (source.startsWith("upload:")) {
      const id = source.slice("upload:".length);
      const bytes = await this.#uploads.get(owner, id);
      if (bytes === undefined) throw refused("unknown_upload", `there is no upload "${id}", or no more`, path);
      return bytes;
    }
    const bytes = Buffer.from(source.slice(source.indexOf(",") + 1), "base64");
    if (bytes.length > this.#maxBytes) {
      throw tooLarge(`the image has ${bytes.length} bytes: at most ${this.#maxBytes} are allowed`, path);
    }
    return bytes;
  }

  async #fetch(address: string, path: string, signal: AbortSignal): Promise<Buffer> {
    try {
      return await this.#outbound.get(address, { maxBytes: this.#maxBytes, timeoutMs: FETCH_MS, signal });
    } catch (error) {
      if (!(error instanceof OutboundError)) throw error;
      if (error.reason === "refused") throw refused("address_refused", error.message, path);
      const message = `the image cannot be fetched: ${error.message}`;
      throw error.reason === "too_large" ? tooLarge(message, path) : refused("image_unavailable", message, path);
    }
  }
}

/** One image at a time: a large one takes 150 MB while it is decoded. */
const decoding = pLimit(1);

/**
 * The pixels of a stranger's image, told by its content and not by what it is called.
 * @param path of the field; empty when the image is the whole body
 * @throws {Refused} 422 when it is not one, is damaged, or has too many pixels
 */
export async function check(bytes: Buffer, path: string): Promise<Pixels> {
  try {
    return await decoding(() => decode(bytes, { maxPixels: MAX_IMAGE_PIXELS }));
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    throw refused("image_undecodable", error.message, path);
  }
}

function refused(code: string, message: string, path: string): Refused {
  return new Refused(422, code, message, [{ path, message }]);
}

function tooLarge(message: string, path: string): Refused {
  return new Refused(413, "image_too_large", message, [{ path, message }]);
}

/**
 * Images in: the bytes behind what a request names, checked. They are fetched here, before the request is accepted, and
 * not by the worker: what is accepted can then be made again and again, whatever becomes of an address; the client hears
 * at once that an image cannot be had; and no GPU waits for a stranger's server.
 */
import pLimit from "p-limit";
import type { Config } from "../config/config.ts";
import { NotReady, Refused } from "../errors.ts";
import { ImageError } from "../image/image-error.ts";
import type { Outbound } from "../outbound/client.ts";
import { OutboundError } from "../outbound/errors.ts";
import { MAX_IMAGE_PIXELS } from "../schema/fields.ts";
import { imageHash } from "../storage/keys.ts";
import type { Uploads } from "../storage/uploads.ts";
import { CheckedImages, type Size } from "./checked-images.ts";
import { bytesOfDataUri, faultOfBase64 } from "./data-uri.ts";
import type { Decoders } from "./decoding/decoders.ts";
import type { MakerName } from "./decoding/messages.ts";
import { Places } from "./places.ts";
import type { Share, Shares } from "./shares.ts";

/** The time for fetching all images of a request, redirects and slow servers included. */
const FETCH_MS = 15_000;
/** The time in which the images of a request must have had their places; nobody waits so long for an answer. */
const TAKE_MS = 60_000;
/** Requests that read images from elsewhere at once; each can hold {@link IMAGES_TOGETHER} in memory. */
const READING = 32;
/** Those of one owner: slow servers that one names hold up nobody else. */
const READING_OF_OWNER = 8;
/** Addresses that one request reads at once. */
const FETCHING_OF_REQUEST = 8;
/** What the images of one request may have together, in images of MAX_IMAGE_BYTES and of MAX_IMAGE_PIXELS. */
const IMAGES_TOGETHER = 4;

export interface TakenImage extends Size {
  hash: string;
  bytes: Buffer;
}

/** Why what is still read or checked for a request is given up; nobody hears it. Made once: an error costs its trace. */
const OVER = new Error("the images of the request have been taken, or refused");

const isAddress = (source: string) => /^http/i.test(source);
const isData = (source: string) => /^data:/i.test(source);
/** What this service keeps, and has checked before. */
const isOurs = (source: string) => /^(upload|sha256):/i.test(source);

/** An image that one of the owner's jobs keeps, by its hash; undefined when none does. */
type KeptImages = (owner: string, hash: string) => Promise<Buffer | undefined>;

/** What images are had with. */
export interface ImageParts {
  readonly outbound: Outbound;
  readonly uploads: Uploads;
  readonly decoders: Decoders;
  /** Bytes that are held for clients: what is fetched, and uploads, count as long as they are read and checked. */
  readonly held: Shares;
  readonly kept: KeptImages;
}

export class ImagesIn {
  readonly #parts: ImageParts;
  readonly #maxBytes: number;
  readonly #reading = new Places(READING, READING_OF_OWNER);
  readonly #checked = new CheckedImages();

  constructor({ MAX_IMAGE_BYTES }: Pick<Config, "MAX_IMAGE_BYTES">, parts: ImageParts) {
    this.#parts = parts;
    this.#maxBytes = MAX_IMAGE_BYTES;
  }

  /**
   * The images of a request, all of them or none.
   * @param named what the client calls each (a data: URI, an address, `upload:<id>`, `sha256:<hash>`), by the path of its field
   * @param owner whose uploads can be named
   * @returns by the path of the field; what is named twice is read once
   * @throws {Refused} naming the field: 422 when an image cannot be had or is none, or when there are too many pixels, 413
   * when there are too many bytes
   * @throws {NotReady} when too many others are being taken, or too much is held for this owner
   */
  async take(named: ReadonlyMap<string, string>, owner: string): Promise<Map<string, TakenImage>> {
    if (named.size === 0) return new Map();
    const share = this.#parts.held.open(owner);
    const elsewhere = [...named.values()].some((source) => !isData(source));
    try {
      return await inTime((signal) => {
        const takeAll = () => this.#takeAll(named, owner, share, signal);
        return elsewhere ? this.#reading.take(owner, takeAll, signal) : takeAll();
      });
    } finally {
      share.release();
    }
  }

  /**
   * The hash and the size of an image.
   * @param path of its field; empty when it is the whole body
   * @throws {Refused} 422 when it is none, is damaged, or has too many pixels
   * @throws {NotReady} when too many others are being checked
   */
  async check(bytes: Buffer, owner: string, path = ""): Promise<Size & { hash: string }> {
    const hash = await imageHash(bytes);
    const check = (signal: AbortSignal) => this.#parts.decoders.check(bytes, () => MAX_IMAGE_PIXELS, owner, signal);
    const size = await orRefused(path, this.#checked.get(owner, hash) ?? inTime(check));
    this.#checked.add(owner, hash, size);
    return { hash, ...size };
  }

  /** Something that is made of an image's pixels; null where there is nothing to make. @throws {Refused} 422 @throws {NotReady} */
  make(maker: MakerName, bytes: Buffer, path: string, owner: string): Promise<Buffer | null> {
    const make = (signal: AbortSignal) => this.#parts.decoders.make(maker, bytes, owner, signal);
    return orRefused(path, inTime(make));
  }

  async #takeAll(named: ReadonlyMap<string, string>, owner: string, share: Share, signal: AbortSignal) {
    const read = this.#reader(owner, share, signal);
    const checkOne = this.#checker(owner, signal);
    const bySource = new Map<string, Promise<TakenImage>>();
    const byHash = new Map<string, Promise<TakenImage>>(); // one image can have many addresses
    const takeOne = async (source: string, path: string): Promise<TakenImage> => {
      const bytes = await read(source, path);
      const hash = await imageHash(bytes);
      const known = byHash.get(hash);
      if (known !== undefined) return known;
      const taken = checkOne(bytes, hash, path, isOurs(source)).then(
        (size) => ({ hash, bytes, ...size }),
        (error) => {
          const fault = isData(source) && error instanceof Refused ? faultOfBase64(source) : null;
          throw fault === null ? error : refused("image_undecodable", fault, path);
        },
      );
      byHash.set(hash, taken);
      return taken;
    };
    for (const [path, source] of named) {
      if (!bySource.has(source)) bySource.set(source, takeOne(source, path));
    }
    await Promise.all(bySource.values());
    const taken = new Map<string, TakenImage>();
    for (const [path, source] of named) taken.set(path, await bySource.get(source)!);
    return taken;
  }

  /** What reads the images of one request until `signal` aborts, as many bytes as they may have together and no more. */
  #reader(owner: string, share: Share, signal: AbortSignal) {
    const most = IMAGES_TOGETHER * this.#maxBytes;
    let together = 0;
    const count = (bytes: number, path: string) => {
      together += bytes;
      if (together > most) throw tooLarge(`the images have more than ${most} bytes together`, path);
    };
    let elsewhere: ((source: string, path: string) => Promise<Buffer>) | undefined;
    return async (source: string, path: string): Promise<Buffer> => {
      if (!isData(source)) {
        elsewhere ??= this.#readerElsewhere(owner, share, signal, count);
        return elsewhere(source, path);
      }
      const bytes = bytesOfDataUri(source);
      if (bytes.length > this.#maxBytes) {
        throw tooLarge(`the image has ${bytes.length} bytes: at most ${this.#maxBytes} are allowed`, path);
      }
      count(bytes.length, path);
      return bytes;
    };
  }

  /** What reads those that are not in the request itself. */
  #readerElsewhere(owner: string, share: Share, signal: AbortSignal, count: (bytes: number, path: string) => void) {
    const fetches = new AbortController(); // AbortSignal.any never lets go of a timeout that does not come (Node 24)
    const slow = setTimeout(() => fetches.abort(new DOMException("", "TimeoutError")), FETCH_MS);
    signal.addEventListener("abort", () => {
      clearTimeout(slow);
      fetches.abort();
    });
    const fetching = pLimit(FETCHING_OF_REQUEST);
    const finding = pLimit(1); // an upload is counted only when it is whole
    return (source: string, path: string): Promise<Buffer> => {
      if (isAddress(source)) {
        const hear = (bytes: number) => {
          count(bytes, path);
          share.add(bytes);
        };
        return fetching(() => this.#fetch(source, path, fetches.signal, hear));
      }
      return finding(async () => {
        signal.throwIfAborted();
        count(0, path); // so that none is read when there are too many bytes already
        const bytes = await this.#find(source, path, owner);
        count(bytes.length, path);
        share.add(bytes.length);
        return bytes;
      });
    };
  }

  async #find(source: string, path: string, owner: string): Promise<Buffer> {
    const id = source.slice(source.indexOf(":") + 1);
    if (/^sha256:/i.test(source)) {
      const kept = await this.#parts.kept(owner, `sha256:${id.toLowerCase()}`);
      if (kept !== undefined) return kept;
      throw refused("unknown_image", "no generation of yours keeps the image with this hash, or none any more", path);
    }
    const bytes = await this.#parts.uploads.get(owner, id);
    if (bytes === undefined) throw refused("unknown_upload", `there is no upload "${id}", or no more`, path);
    return bytes;
  }

  async #fetch(address: string, path: string, signal: AbortSignal, onBytes: (bytes: number) => void): Promise<Buffer> {
    try {
      return await this.#parts.outbound.get(address, {
        maxBytes: this.#maxBytes,
        timeoutMs: FETCH_MS,
        signal,
        onBytes,
      });
    } catch (error) {
      if (!(error instanceof OutboundError)) throw error;
      if (error.reason === "refused") throw refused("address_refused", error.message, path);
      const message = `the image cannot be fetched: ${error.message}`;
      throw error.reason === "too_large" ? tooLarge(message, path) : refused("image_unavailable", message, path);
    }
  }

  /** What checks the images of one request, as many pixels as they may have together and no more. */
  #checker(owner: string, signal: AbortSignal) {
    const most = IMAGES_TOGETHER * MAX_IMAGE_PIXELS;
    let together = 0;
    return async (bytes: Buffer, hash: string, path: string, isDecoded: boolean): Promise<Size> => {
      const known = this.#checked.get(owner, hash);
      const mostPixels = () => (isDecoded ? 0 : most - together); // of what is known to decode, and of too much, the size is enough
      const checking = known ?? this.#parts.decoders.check(bytes, mostPixels, owner, signal);
      const { width, height } = await orRefused(path, checking);
      together += width * height;
      if (together > most) {
        const sum = `with this one of ${width}×${height}, the images have ${together} pixels together`;
        throw refused("too_many_pixels", `${sum}: at most ${most} are allowed`, path);
      }
      this.#checked.add(owner, hash, { width, height });
      return { width, height };
    };
  }
}

/** What is to have its turns, and be done with, within {@link TAKE_MS}. @throws {NotReady} when it is not */
async function inTime<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const ended = new AbortController();
  const late = setTimeout(() => {
    ended.abort(new NotReady(["the images of too many requests are being read and checked"]));
  }, TAKE_MS);
  try {
    return await task(ended.signal);
  } catch (error) {
    ended.signal.throwIfAborted(); // it was too late, whatever came of it
    throw error;
  } finally {
    clearTimeout(late);
    ended.abort(OVER); // the first that fails speaks for all: the others need not be read or checked
  }
}

/** @throws {Refused} 422 for an {@link ImageError} */
async function orRefused<T>(path: string, reading: T | Promise<T>): Promise<T> {
  try {
    return await reading;
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

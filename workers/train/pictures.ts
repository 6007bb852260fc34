import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { decodeImage } from "../../src/image/decode.ts";
import { resizeModes } from "../../src/image/fit.ts";
import { ImageError } from "../../src/image/image-error.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { MAX_IMAGE_PIXELS } from "../../src/schema/fields.ts";
import type { Pair } from "../../src/training/dataset.ts";

/** Decoded pictures that are kept in memory; what goes beyond is decoded each time. */
const BUDGET_BYTES = 1 << 30;

/** A dataset's pictures: each decoded once while there is room. */
export class Pictures {
  readonly #kept = new Map<string, Pixels>();
  readonly #side: number | null;
  #bytes = 0;

  /** @param side pixels of the square that pictures are scaled to cover, the middle kept; null = as they are */
  constructor(side: number | null) {
    this.#side = side;
  }

  /** @throws ImageError */
  async get(file: string): Promise<Pixels> {
    const kept = this.#kept.get(file);
    if (kept !== undefined) {
      return kept;
    }
    const whole = await decodeImage(readFileSync(file), { maxPixels: MAX_IMAGE_PIXELS });
    const pixels = this.#side === null ? whole : resizeModes.crop(whole, this.#side, this.#side);
    if (this.#bytes + pixels.data.length <= BUDGET_BYTES) {
      this.#kept.set(file, pixels);
      this.#bytes += pixels.data.length;
    }
    return pixels;
  }

  /** Adds to `wrong` which of a pair's files do not decode. */
  async check({ where, image, hint }: Pair, wrong: string[]): Promise<void> {
    for (const file of hint === null ? [image] : [image, hint]) {
      try {
        await this.get(file);
      } catch (error) {
        if (!(error instanceof ImageError)) {
          throw error;
        }
        wrong.push(`${where}: ${basename(file)}: ${error.message}`);
      }
    }
  }
}

/** Left and right exchanged. */
export function mirror({ width, height, data }: Pixels): Pixels {
  const mirrored = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = 3 * (y * width + x);
      mirrored.set(data.subarray(from, from + 3), 3 * (y * width + width - 1 - x));
    }
  }
  return { width, height, data: mirrored };
}

/** The `side` × `side` pixels from (left, top). */
export function cut({ width, data }: Pixels, left: number, top: number, side: number): Pixels {
  const part = new Uint8Array(3 * side * side);
  for (let y = 0; y < side; y++) {
    const from = 3 * ((top + y) * width + left);
    part.set(data.subarray(from, from + 3 * side), 3 * y * side);
  }
  return { width: side, height: side, data: part };
}

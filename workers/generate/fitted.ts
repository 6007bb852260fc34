import { type ResizeMode, resizeModes } from "../../src/image/fit.ts";
import { type Look, lookAt } from "../../src/image/map-warnings.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { Lately } from "./lately.ts";

/** Pixels at a request's size that are kept: a hundred and more at 512². */
const KEPT_BYTES = 128 * 2 ** 20;
/** What an image looks like is some numbers. */
const LOOKS = 1000;

/**
 * What is made of images at the size of a picture, which is little beside the images: an image that a request names for each of
 * eight controls is resized once, and a generation that has given way while it was getting ready does not begin anew.
 */
export class Fitted {
  readonly #fitted = new Lately<Pixels>(KEPT_BYTES, ({ data }) => data.length);
  readonly #looks = new Lately<{ look: Look | null }>(LOOKS, () => 1);

  /** @param read gives the image with this hash, where it is needed */
  fit(hash: string, mode: ResizeMode, width: number, height: number, read: () => Promise<Pixels>): Promise<Pixels> {
    const made = `${hash} ${mode} ${width} ${height}`;
    return this.#fitted.get(made, async () => {
      const fitted = resizeModes[mode](await read(), width, height);
      const { data } = fitted;
      // What shares a larger picture's memory would keep it.
      return data.length === data.buffer.byteLength ? fitted : { ...fitted, data: data.slice() };
    });
  }

  /** What an image looks like as it came. */
  async look(hash: string, read: () => Promise<Pixels>): Promise<Look | null> {
    return (await this.#looks.get(hash, async () => ({ look: lookAt(await read()) }))).look;
  }
}

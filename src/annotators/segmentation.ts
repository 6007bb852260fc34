import type { Pixels } from "../image/pixels.ts";
import { ADE20K } from "./ade20k.ts";
import { infer, type Net, NetworkError, plane } from "./network.ts";
import { bilinear, rowsOf } from "./plane.ts";
import { type ProcessorConfig, process } from "./processor.ts";

/** A network that says which of ADE20K's 150 classes a pixel is of. */
export interface SegmentationNet extends Net {
  readonly processor: ProcessorConfig;
  /** A color for each of its classes, where they are not ADE20K's. */
  readonly palette: Palette | null;
}

/** Red, green and blue of each class. */
export type Palette = readonly (readonly [number, number, number])[];

/**
 * The class of each pixel of a picture: the logits resized to its size, the largest one taken, the first of equals
 * (transformers' `post_process_semantic_segmentation`).
 */
export async function classes(pixels: Pixels, net: SegmentationNet): Promise<Uint8Array> {
  const { width, height } = pixels;
  const [logits] = await infer(net, process(pixels, net.processor));
  const count = logits!.dims[1]!;
  if (logits!.dims.length !== 4 || count !== colorsOf(net).length) {
    throw new NetworkError(`logits of shape [${logits!.dims}]: the palette has ${colorsOf(net).length} classes`);
  }
  // One class at a time: all of them at the picture's size would take gigabytes.
  const best = new Float32Array(width * height).fill(-Infinity);
  const found = new Uint8Array(width * height);
  const row = new Float32Array(width);
  for (let c = 0; c < count; c++) {
    const rows = rowsOf(plane(logits!, c), width, height, bilinear);
    for (let y = 0, p = 0; y < height; y++) {
      rows(y, row);
      for (let x = 0; x < width; x++, p++) {
        if (row[x]! > best[p]!) {
          best[p] = row[x]!;
          found[p] = c;
        }
      }
    }
  }
  return found;
}

const colorsOf = ({ palette }: Pick<SegmentationNet, "palette">): Palette => palette ?? ADE20K;

/** A segmentation map in ADE20K's colors, or in those of the network's own palette. */
export async function segmentationMap(pixels: Pixels, net: SegmentationNet): Promise<Pixels> {
  const found = await classes(pixels, net);
  const data = new Uint8Array(3 * found.length);
  const colors = colorsOf(net);
  found.forEach((c, p) => {
    data.set(colors[c]!, 3 * p);
  });
  return { ...pixels, data };
}

import * as z from "zod";
import type { Pixels } from "../image/pixels.ts";
import { type ResizeFilter, resize } from "../image/resize.ts";
import { roundHalfEven } from "../image/rounding.ts";
import { parseConfig } from "../models/config.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { feedOf } from "./network.ts";

/** Pillow's filters by their numbers there. */
const FILTERS: Readonly<Record<number, ResizeFilter>> = { 1: "lanczos", 2: "bilinear", 3: "bicubic" };

const off = z.union([z.null(), z.literal(false)]).default(null);
const side = z.int().min(1).max(4096);
const channels = z.array(z.number()).length(3);
const ignored = z.unknown().optional();

/**
 * A `preprocessor_config.json` of transformers. A key that is not honoured here is refused by name, unless it is switched off;
 * defaults are those of DPTImageProcessor and SegformerImageProcessor where the two agree.
 */
const processorConfig = z.strictObject({
  do_resize: z.boolean().default(true),
  size: z
    .union([side, z.strictObject({ height: side, width: side }), z.strictObject({ shortest_edge: side })])
    .default({ height: 512, width: 512 }),
  keep_aspect_ratio: z.boolean().default(false),
  ensure_multiple_of: side.default(1),
  resample: z.literal([1, 2, 3]).default(2),
  do_rescale: z.boolean().default(true),
  rescale_factor: z
    .number()
    .positive()
    .default(1 / 255),
  do_normalize: z.boolean().default(true),
  image_mean: channels.default([0.485, 0.456, 0.406]),
  image_std: channels.default([0.229, 0.224, 0.225]),
  do_pad: off,
  do_center_crop: off,
  do_flip_channel_order: off,
  do_affine_transform: z.boolean().default(false),
  normalize_factor: z.literal(200).default(200),
  // What is asked of labels in training, and what only says who wrote the file or where a crop would be.
  ...{
    do_reduce_labels: ignored,
    reduce_labels: ignored,
    image_processor_type: ignored,
    feature_extractor_type: ignored,
  },
  ...{
    processor_class: ignored,
    size_divisor: ignored,
    crop_size: ignored,
    do_convert_rgb: ignored,
    crop_pct: ignored,
  },
  ...{ data_format: ignored, input_data_format: ignored, return_tensors: ignored, device: ignored },
});
export type ProcessorConfig = z.infer<typeof processorConfig>;

/** @throws UnsupportedError that names each key that is not honoured, with what is allowed. */
export const parseProcessor = (json: object): ProcessorConfig =>
  parseConfig(processorConfig, json, "preprocessor_config.json");

/** The size that a picture is given: DPTImageProcessor's `get_resize_output_image_size`, or by its shortest edge. */
export function processedSize({ width, height }: Pick<Pixels, "width" | "height">, config: ProcessorConfig) {
  const { size, keep_aspect_ratio: keep, ensure_multiple_of: multiple } = config;
  if (!config.do_resize) return { width, height };
  if (typeof size === "object" && "shortest_edge" in size) {
    const long = Math.trunc((size.shortest_edge * Math.max(width, height)) / Math.min(width, height));
    return width < height ? { width: size.shortest_edge, height: long } : { width: long, height: size.shortest_edge };
  }
  const target = typeof size === "number" ? { width: size, height: size } : size;
  let [across, down] = [target.width / width, target.height / height];
  if (keep) across = down = Math.abs(1 - across) < Math.abs(1 - down) ? across : down;
  const fit = (scaled: number) => Math.max(roundHalfEven(scaled / multiple), 1) * multiple;
  return { width: fit(across * width), height: fit(down * height) };
}

/** A picture as the network wants it, [1, 3, h, w]: resized as Pillow does, then scaled and normalised in float32. */
export function process(pixels: Pixels, config: ProcessorConfig): Tensor {
  const { width, height } = processedSize(pixels, config);
  const filter = FILTERS[config.resample]!;
  return normalised(config.do_resize ? resize(pixels, width, height, { filter }) : pixels, config);
}

export function normalised(pixels: Pixels, config: ProcessorConfig): Tensor {
  const { do_rescale, rescale_factor, do_normalize, image_mean, image_std } = config;
  return feedOf(pixels, (byte, c) => {
    const scaled = do_rescale ? Math.fround(byte * rescale_factor) : byte;
    return do_normalize ? Math.fround(scaled - image_mean[c]!) / image_std[c]! : scaled;
  });
}

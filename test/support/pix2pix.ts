/** Models that edit an image by instructions, made of the fixtures as test/fixtures/make/pix2pix.py makes them. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readRaw, writeRaw } from "./rewrite.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");

/** Says more in a JSON file. */
export const edit = (file: string, more: object) =>
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), ...more }));

/** A fixture's model with a U-Net that is shown an image, in a folder of its own. @param index more of model_index.json */
export function makePix2pix(base: string, from: "sd15" | "sdxl", index: object): void {
  cpSync(join(FIXTURES, from, "base"), base, { recursive: true });
  edit(join(base, "model_index.json"), index);
  edit(join(base, "unet/config.json"), { in_channels: 8 });
  const weights = join(base, "unet/diffusion_pytorch_model.safetensors");
  const tensors = readRaw(weights);
  const { dtype, shape, bytes } = tensors.get("conv_in.weight")!; // [C, 4, 3, 3] of two bytes each
  const row = bytes.length / shape[0]!;
  const rows = Array.from({ length: shape[0]! }, (_, i) => bytes.subarray(i * row, (i + 1) * row));
  const twice = Buffer.concat(rows.flatMap((four) => [four, four]));
  tensors.set("conv_in.weight", { dtype, shape: [shape[0]!, 8, 3, 3], bytes: twice });
  writeRaw(weights, tensors);
}

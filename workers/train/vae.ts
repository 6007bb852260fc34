import { join } from "node:path";
import { stack } from "../../src/diffusion/rows.ts";
import { sample } from "../../src/image/hint.ts";
import { readJson } from "../../src/models/checkpoint.ts";
import type { VaeConfig } from "../../src/models/config.ts";
import { vaeEncode } from "../../src/models/vae.ts";
import { Weights } from "../../src/models/weights.ts";
import { build } from "../../src/onnx/build.ts";
import { input } from "../../src/onnx/value.ts";
import { DatasetError, readDataset, refuse } from "../../src/training/dataset.ts";
import { initialize, vaeShapes } from "../../src/training/initialize.ts";
import { vaeStep } from "../../src/training/loss.ts";
import { type Block, TrainableWeights } from "../../src/training/parameters.ts";
import { CPU, openSession } from "../runtime/runtime.ts";
import { parametersOf, readVae, STEM, writeComponent } from "./components.ts";
import { cut, mirror, Pictures } from "./pictures.ts";
import type { OpenSubject } from "./subject.ts";

/** Pictures whose latents say how latents are scaled. */
const SCALED_BY = 64;

/** The standard deviation of the latents of a square of each picture: its inverse is the VAE's scaling_factor. */
async function deviation(
  vae: VaeConfig,
  parameters: Block,
  files: readonly string[],
  pictures: Pictures,
  side: number,
) {
  const shapes = new Map([...parameters.tensors].map(([name, { dims }]) => [name, dims]));
  const weights = new TrainableWeights(shapes);
  const image = input("image", "float32", [1, vae.in_channels, side, side]);
  const moments = vaeEncode(new Weights(weights), vae, image);
  const bytes = build([image, ...weights.inputs.values()], { moments });
  const session = await openSession({ bytes, folder: "." }, CPU);
  let [count, sum, squares] = [0, 0, 0];
  for (const [i, file] of files.entries()) {
    const whole = await pictures.get(file);
    // From the upper left corner of the first picture to the lower right one of the last: a corner alone is mostly sky.
    const at = (size: number) => Math.round(((size - side) * i) / Math.max(files.length - 1, 1));
    const data = sample(cut(whole, at(whole.width), at(whole.height), side));
    const feeds = {
      image: { dims: [1, vae.in_channels, side, side], data },
      ...Object.fromEntries(parameters.tensors),
    };
    const result = (await session.run(feeds)).moments!;
    for (const value of (result.data as Float32Array).subarray(0, result.data.length / 2)) {
      count += 1;
      sum += value;
      squares += value * value;
    }
  }
  await session.release();
  return Math.sqrt(squares / count - (sum / count) ** 2);
}

/** The VAE, on squares of `resolution` pixels cut from the pictures at random. */
export const openVaeTraining: OpenSubject = async (folders, settings, { onPreparing }) => {
  const vae = readVae(folders.base);
  const pairs = readDataset(folders.dataset, false);
  const pictures = new Pictures(null);
  const side = settings.resolution;
  const wrong: string[] = [];
  for (const [i, pair] of pairs.entries()) {
    onPreparing("files", i, pairs.length);
    await pictures.check(pair, wrong);
  }
  refuse(wrong);
  return {
    count: pairs.length,
    start: () => parametersOf(join(folders.base, "vae"), "vae", () => initialize(vaeShapes(vae), settings.seed)),
    graph(parameters, size) {
      const shapes = new Map([...parameters.tensors].map(([name, { dims }]) => [name, dims]));
      return { bytes: vaeStep(vae, shapes, size), folder: folders.base };
    },
    async feeds({ rows, noise }) {
      const images: Float32Array[] = [];
      for (const { pair, flipped, choices } of rows) {
        const { where, image } = pairs[pair]!;
        const whole = await pictures.get(image);
        if (Math.min(whole.width, whole.height) < side) {
          throw new DatasetError(
            `${where}: ${whole.width}×${whole.height} pixels are fewer than the resolution ${side}`,
          );
        }
        const left = Math.floor(choices[0] * (whole.width - side + 1));
        const top = Math.floor(choices[1] * (whole.height - side + 1));
        const square = cut(whole, left, top, side);
        images.push(sample(flipped ? mirror(square) : square));
      }
      const latents = [vae.latent_channels, side / 8, side / 8];
      const size = latents.reduce((product, dim) => product * dim, 1);
      return {
        image: stack(images, [3, side, side]),
        noise: stack(
          rows.map(() => noise.normal(size)),
          latents,
        ),
      };
    },
    async save(parameters) {
      const some = pairs.slice(0, SCALED_BY).map(({ image }) => image);
      const scaling_factor = 1 / (await deviation(vae, parameters, some, pictures, side));
      const config = { ...readJson(join(folders.base, "vae", "config.json")), scaling_factor };
      writeComponent(join(folders.output, "vae"), STEM.vae, config, parameters.tensors, "F16");
    },
  };
};

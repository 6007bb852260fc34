/** A dataset as the locked VAE and text encoder see it: computed once, kept in files. */
import { existsSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chunkPrompt } from "../../src/diffusion/prompt.ts";
import { loadTokenizer, type Tokenizer } from "../../src/diffusion/tokenizer.ts";
import { sample } from "../../src/image/hint.ts";
import { findCheckpoint } from "../../src/models/checkpoint.ts";
import type { Graph } from "../../src/models/graph.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { type Pair, refuse } from "../../src/training/dataset.ts";
import { CPU, openSession } from "../runtime/runtime.ts";
import { mirror, type Pictures } from "./pictures.ts";
import { cacheName, Rows } from "./rows.ts";
import type { OnPreparing } from "./subject.ts";

/** The files that hold a component's weights. */
function weightFiles(folder: string, stem: string): string[] {
  const checkpoint = findCheckpoint(folder, stem);
  return [...new Set([...checkpoint.tensors.values()].map(({ location }) => join(checkpoint.folder, location)))];
}

/** A network that is loaded when it is first needed. */
function lazily(graph: () => Graph) {
  let session: ReturnType<typeof openSession> | undefined;
  return {
    async run(feeds: Record<string, Tensor>) {
      session ??= openSession(graph(), CPU);
      return (await session).run(feeds);
    },
    async release() {
      await (await session)?.release();
    },
  };
}

/**
 * The VAE's moments [2C, h, w] of every picture, and of every picture mirrored.
 * @param wrong mistakes found so far
 * @throws DatasetError with these and every file that does not decode
 */
export async function encodePictures(
  encoder: { readonly graph: () => Graph; readonly folder: string; readonly latentChannels: number },
  pairs: readonly Pair[],
  pictures: Pictures,
  { resolution, random_flip }: { readonly resolution: number; readonly random_flip: boolean },
  cache: string,
  wrong: string[],
  onPreparing: OnPreparing,
): Promise<(pair: number, flipped: boolean) => Float32Array> {
  const size = 2 * encoder.latentChannels * (resolution / 8) ** 2;
  const sides = random_flip ? 2 : 1;
  const vae = lazily(encoder.graph);
  // By the pictures alone: datasets that show the same ones, each with its own hints, may share a cache.
  const images = pairs.map(({ image }) => realpathSync(image));
  const weights = weightFiles(encoder.folder, "diffusion_pytorch_model");
  const path = join(cache, `latents-${cacheName([...images, ...weights], resolution, random_flip)}.bin`);
  const hints = pairs.flatMap(({ hint }) => hint ?? []);
  const checked = join(cache, `checked-${cacheName([...images, ...hints])}`);
  if (!existsSync(checked)) {
    for (const [i, pair] of pairs.entries()) {
      onPreparing("files", i, pairs.length);
      await pictures.check(pair, wrong);
    }
    refuse(wrong);
    mkdirSync(cache, { recursive: true });
    writeFileSync(checked, "");
  }
  const rows = await Rows.open(path, sides * pairs.length, size, async (row) => {
    const index = Math.floor(row / sides);
    onPreparing("pictures", index, pairs.length);
    const pixels = await pictures.get(pairs[index]!.image);
    const data = sample(row % sides === 0 ? pixels : mirror(pixels));
    const { moments } = await vae.run({ image: { dims: [1, 3, resolution, resolution], data } });
    return moments!.data as Float32Array;
  });
  await vae.release();
  return (pair, flipped) => rows.get(pair * sides + Number(flipped));
}

/** Token ids of every pair's prompt; `wrong` collects those that the text encoder could not read whole. */
export function tokenize(
  folder: string,
  pairs: readonly Pair[],
  wrong: string[],
): { ids: number[][]; empty: number[] } {
  const tokenizer: Tokenizer = loadTokenizer(folder);
  const ids = pairs.map(({ prompt, where }) => {
    const { chunks, truncated } = chunkPrompt(prompt, "plain", "truncate", tokenizer);
    if (truncated.length > 0) {
      wrong.push(`${where}: the prompt is longer than the text encoder reads: "${truncated[0]}" is left over`);
    }
    return [...chunks[0]!.ids];
  });
  return { ids, empty: [...chunkPrompt("", "plain", "truncate", tokenizer).chunks[0]!.ids] };
}

/** The last hidden states [77, D] of every pair's prompt, and of the empty one (null). */
export async function encodeDatasetPrompts(
  encoder: { readonly graph: () => Graph; readonly folder: string; readonly layers: number; readonly width: number },
  { ids, empty }: { readonly ids: readonly number[][]; readonly empty: readonly number[] },
  cache: string,
  onPreparing: OnPreparing,
): Promise<(pair: number | null) => Float32Array> {
  const all = [empty, ...ids];
  const size = empty.length * encoder.width;
  const name = cacheName(weightFiles(encoder.folder, "model"), all);
  const text = lazily(encoder.graph);
  const rows = await Rows.open(join(cache, `text-${name}.bin`), all.length, size, async (row) => {
    onPreparing("prompts", row, all.length);
    const tokens = all[row]!;
    const outputs = await text.run({
      input_ids: { dims: [1, tokens.length], data: BigInt64Array.from(tokens, BigInt) },
      layer: { dims: [1], data: BigInt64Array.of(BigInt(encoder.layers)) },
      pooling: { dims: [1, 1, tokens.length], data: new Float32Array(tokens.length) },
    });
    return outputs.normed!.data as Float32Array;
  });
  await text.release();
  return (pair) => rows.get(pair === null ? 0 : pair + 1);
}

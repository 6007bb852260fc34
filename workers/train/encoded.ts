/** A dataset as the locked VAE and text encoders see it: computed once, kept in files. */
import { existsSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chunkPrompt } from "../../src/diffusion/prompt.ts";
import { encodePrompts } from "../../src/diffusion/text.ts";
import { loadTokenizer, type Tokenizer } from "../../src/diffusion/tokenizer.ts";
import { sample } from "../../src/image/hint.ts";
import { findCheckpoint } from "../../src/models/checkpoint.ts";
import { pooledSize } from "../../src/models/encoder.ts";
import type { Graph } from "../../src/models/graph.ts";
import type { BaseModel } from "../../src/models/opened.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { type Pair, refuse } from "../../src/training/dataset.ts";
import { CPU, openSession } from "../runtime/runtime.ts";
import { mirror, type Pictures } from "./pictures.ts";
import { cacheName, RowFile } from "./rows.ts";
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
  const rows = await RowFile.open(path, sides * pairs.length, size, async (row) => {
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
      const reason = `${where}: the prompt is longer than the text encoder reads: "${truncated[0]}" is left over`;
      if (!wrong.includes(reason)) wrong.push(reason); // two encoders of one vocabulary say the same
    }
    return [...chunks[0]!.ids];
  });
  return { ids, empty: [...chunkPrompt("", "plain", "truncate", tokenizer).chunks[0]!.ids] };
}

/** What the networks are told of a prompt: encoder_hidden_states [S, D], and SDXL's text_embeds [P]. */
export interface EncodedPrompt {
  readonly hidden: Float32Array;
  readonly pooled: Float32Array;
}

const PLAIN = { negative_prompt: null, prompt_syntax: "plain", long_prompt: "truncate", clip_skip: null } as const;

/**
 * Every pair's prompt, and the empty one (null), by the base's text encoders.
 * @param tokens of each tower, which tell one dataset's cache from another's
 */
export async function encodeDatasetPrompts(
  base: BaseModel,
  pairs: readonly Pair[],
  tokens: readonly { readonly ids: readonly number[][]; readonly empty: readonly number[] }[],
  cache: string,
  onPreparing: OnPreparing,
): Promise<(pair: number | null) => EncodedPrompt> {
  const prompts = ["", ...pairs.map(({ prompt }) => prompt)];
  const size = tokens[0]!.empty.length * base.unet.cross_attention_dim;
  const pooled = pooledSize(base.unet);
  const files = base.text.flatMap((_, t) => weightFiles(join(base.folder, TOWERS[t]!), "model"));
  const name = cacheName(
    files,
    tokens.map(({ ids, empty }) => [empty, ...ids]),
  );
  const towers = base.text.map(({ config, tokenizerFolder, network }) => ({
    config,
    tokenizer: loadTokenizer(tokenizerFolder),
    ...lazily(network.graph),
  }));
  const rows = await RowFile.open(join(cache, `text-${name}.bin`), prompts.length, size + pooled, async (row) => {
    onPreparing("prompts", row, prompts.length);
    const prompt = prompts[row]!;
    const { encoder_hidden_states, text_embeds } = await encodePrompts(
      { ...base, text: towers },
      { ...PLAIN, prompt },
      false,
    );
    return join32(encoder_hidden_states.data as Float32Array, (text_embeds?.data ?? []) as ArrayLike<number>);
  });
  for (const { release } of towers) await release();
  return (pair) => {
    const row = rows.get(pair === null ? 0 : pair + 1);
    return { hidden: row.subarray(0, size), pooled: row.subarray(size) };
  };
}

const TOWERS = ["text_encoder", "text_encoder_2"];

function join32(first: Float32Array, second: ArrayLike<number>): Float32Array {
  const joined = new Float32Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}

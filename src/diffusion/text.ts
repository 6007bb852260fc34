/** Prompts → what the networks are told of them. */
import type { ClipConfig, UnetConfig } from "../models/config.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { GenerationRequest } from "../schema/generation-request.ts";
import type { LoadedModel, LoadedTower } from "./model.ts";
import { type Chunk, type Chunks, chunkPrompt } from "./prompt.ts";
import { stack } from "./rows.ts";

type TextRequest = Pick<
  GenerationRequest,
  "prompt" | "negative_prompt" | "prompt_syntax" | "long_prompt" | "clip_skip"
>;

export interface EncodedPrompts {
  /** [rows, S, D]: with guidance the unconditional row first, then the prompt's; else the prompt's alone. S = 77 a chunk. */
  readonly encoder_hidden_states: Tensor;
  /** SDXL: [rows, P], the second tower's text as a whole (of the first chunk). */
  readonly text_embeds?: Tensor;
  readonly warnings: readonly string[];
}

/** SDXL reads its towers one layer early and without the final norm (diffusers' StableDiffusionXLPipeline.encode_prompt). */
const isSdxl = ({ unet }: Pick<LoadedModel, "unet">) => unet.addition_embed_type !== null;

/** The most layers that clip_skip may leave out: then the word embeddings alone are left. */
export function maxClipSkip(model: { unet: UnetConfig; text: readonly { config: ClipConfig }[] }): number {
  return Math.min(...model.text.map(({ config }) => config.num_hidden_layers)) - (isSdxl(model) ? 1 : 0);
}

/**
 * Emphasis: each token of `hidden` [77, D] times its weight, then all of it scaled to the mean that it had
 * (EmphasisOriginal in modules/sd_emphasis.py of AUTOMATIC1111/stable-diffusion-webui).
 */
function emphasize(hidden: Float32Array, weights: readonly number[]): Float32Array {
  if (weights.every((weight) => weight === 1)) {
    return hidden;
  }
  const size = hidden.length / weights.length;
  const weighted = hidden.map((value, i) => value * weights[Math.floor(i / size)]!);
  const sum = (values: Float32Array) => values.reduce((total, value) => total + value, 0);
  const factor = sum(hidden) / sum(weighted);
  if (!Number.isFinite(factor)) {
    throw new Error("the weights of the prompt are too large");
  }
  return weighted.map((value) => value * factor);
}

/** 1 at the token whose state is the text's as a whole: the end token, as transformers' CLIPTextModel finds it. */
export function pooling(ids: readonly number[], eos: number): Float32Array {
  // Configs from before transformers 4.31 name 2, which is no end token: there it is the highest id.
  const at = Math.max(0, ids.indexOf(eos === 2 ? Math.max(...ids) : eos));
  return Float32Array.from(ids, (_, i) => (i === at ? 1 : 0));
}

/** What of a model reads prompts. */
export type Reader = Pick<LoadedModel, "unet" | "text" | "force_zeros_for_empty_prompt">;

/** One prompt's chunks, [tower][chunk] → embeddings [S, D] and SDXL's pooled text [P]. @param skip layers left out at the end */
async function encodeRow(model: Reader, chunks: readonly (readonly Chunk[])[], skip: number) {
  const sdxl = isSdxl(model);
  let pooled: Float32Array | undefined;
  const towers: Float32Array[] = [];
  for (const [t, { config, run }] of model.text.entries()) {
    const layer = config.num_hidden_layers - skip - (sdxl ? 1 : 0);
    const encoded: Float32Array[] = [];
    // One chunk a run, so that its bytes do not depend on what it is computed beside.
    for (const { ids, weights } of chunks[t]!) {
      const outputs = await run({
        input_ids: { dims: [1, ids.length], data: BigInt64Array.from(ids, BigInt) },
        layer: { dims: [1], data: BigInt64Array.of(BigInt(layer)) },
        pooling: { dims: [1, 1, ids.length], data: pooling(ids, config.eos_token_id) },
      });
      const { data } = sdxl ? outputs.hidden! : outputs.normed!;
      encoded.push(emphasize(data as Float32Array, weights));
      // The last tower's, of the first chunk; CLIP files as they were published have a projection in the first tower too.
      if (t === model.text.length - 1) {
        pooled ??= outputs.text_embeds?.data as Float32Array | undefined;
      }
    }
    towers.push(stack(encoded, [config.hidden_size]).data as Float32Array); // [S, D_t]
  }
  return { hidden: beside(towers, model.text), pooled };
}

/** Embeddings [S, D_t] of each tower side by side: [S, ΣD_t]. */
function beside(parts: readonly Float32Array[], towers: readonly LoadedTower[]): Float32Array {
  const width = towers.reduce((sum, { config }) => sum + config.hidden_size, 0);
  const joined = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let left = 0;
  for (const [t, { config }] of towers.entries()) {
    const size = config.hidden_size;
    for (let from = 0, to = left; from < parts[t]!.length; from += size, to += width) {
      joined.set(parts[t]!.subarray(from, from + size), to);
    }
    left += size;
  }
  return joined;
}

/**
 * Prompts → what cross-attention reads, and SDXL's pooled text.
 * @param guided classifier-free guidance needs the negative prompt's row too
 * @throws Error when clip_skip leaves no layer, or the weights overflow
 */
export async function encodePrompts(model: Reader, request: TextRequest, guided: boolean): Promise<EncodedPrompts> {
  const { prompt, negative_prompt, prompt_syntax, long_prompt } = request;
  const clipSkip = request.clip_skip ?? 0;
  const most = maxClipSkip(model);
  if (clipSkip > most) {
    throw new Error(`clip_skip is ${clipSkip}: this model's text encoder can do without ${most} layers at most`);
  }
  const chunk = (text: string, syntax = prompt_syntax) =>
    model.text.map(({ tokenizer }) => chunkPrompt(text, syntax, long_prompt, tokenizer));
  const zeros = isSdxl(model) && negative_prompt === null && model.force_zeros_for_empty_prompt;
  const own = chunk(prompt);
  const negative = guided && !zeros ? chunk(negative_prompt ?? "") : [];
  const count = Math.max(...[...own, ...negative].map(({ chunks }) => chunks.length));
  const empty = chunk("", "plain");
  const filled = (row: Chunks[]) =>
    row.map(({ chunks }, t) => [...chunks, ...Array<Chunk>(count - chunks.length).fill(empty[t]!.chunks[0]!)]);

  const rows = [await encodeRow(model, filled(own), clipSkip)];
  if (guided) {
    const { hidden, pooled } = rows[0]!;
    // As in diffusers, clip_skip is the prompt's alone.
    const uncond = zeros
      ? { hidden: new Float32Array(hidden.length), pooled: pooled && new Float32Array(pooled.length) }
      : await encodeRow(model, filled(negative), 0);
    rows.unshift(uncond);
  }
  const size = model.unet.cross_attention_dim;
  const hidden = stack(
    rows.map((row) => row.hidden),
    [rows[0]!.hidden.length / size, size],
  );
  const pooled = rows.flatMap((row) => row.pooled ?? []);
  const truncated = new Set([...negative, ...own].flatMap((one) => one.truncated));
  return {
    encoder_hidden_states: hidden,
    ...(isSdxl(model) && { text_embeds: stack(pooled, [pooled[0]!.length]) }),
    warnings: [...truncated].map((text) => `a prompt is longer than the text encoder reads; cut off: "${text}"`),
  };
}

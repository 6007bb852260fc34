/** IP-Adapters of a request: what their images are to each attention to the text, as further inputs of the U-Net. */

import { crossAttentions, type IpAdapter } from "../../models/ip-adapter.ts";
import { attentionBlocks } from "../../models/levels.ts";
import type { BaseModel } from "../../models/opened.ts";
import type { Graft } from "../../onnx/graft.ts";
import type { Tensor } from "../../onnx/tensor.ts";
import type { IpScale } from "../../schema/adapters.ts";
import type { AttentionBlocks } from "../../schema/catalog.ts";
import { factorOf, scaleMisfit } from "../../schema/ip-scale.ts";
import { checkFinite } from "../finite.ts";
import type { Run } from "../model.ts";
import { bicubic } from "./bicubic.ts";
import type { Additions } from "./loras.ts";

export interface LoadedIpAdapter {
  readonly adapter: IpAdapter;
  readonly run: { readonly encoder: Run; readonly tokens: Run };
}

/** One IP-Adapter of a request. */
export interface ChosenIpAdapter {
  readonly id: string;
  readonly loaded: LoadedIpAdapter;
  readonly scale: IpScale;
  /** pixel_values [1, 3, S, S] of each image, read when it is its turn. */
  readonly images: readonly (() => Promise<Tensor>)[];
  /** [1, 1, H, W]: 1 where it acts; null = everywhere. */
  readonly mask: Tensor | null;
}

type Part = keyof AttentionBlocks;

/** An attention to the text: "up_blocks.1.attentions.2.transformer_blocks.0.attn2" → up, 1, 2. */
function blockOf(at: string): { part: Part; block: number; attention: number } {
  const [, part, block, attention] = /^(down|mid|up)_blocks?\.(?:(\d+)\.)?attentions\.(\d+)\./.exec(at)!;
  return { part: part as Part, block: Number(block ?? 0), attention: Number(attention) };
}

/** The factor of each attention. @throws Error that names what does not fit the U-Net */
function scalesOf(scale: IpScale, blocks: AttentionBlocks, places: readonly string[]): number[] {
  const misfit = scaleMisfit(scale, blocks);
  if (misfit !== null) throw new Error(`scale${misfit.path}: ${misfit.message}`);
  return places.map(blockOf).map(({ part, block, attention }) => factorOf(scale, part, block, attention));
}

/**
 * A mask as factors of an attention's h·w queries (diffusers' IPAdapterMaskProcessor.downsample, which finds the sides from
 * their number and the picture's proportions).
 */
export function maskOf({ dims, data }: Tensor, queries: number): Tensor {
  const [height, width] = dims.slice(2) as [number, number];
  const side = Math.trunc(Math.sqrt(queries / (width / height)));
  const rows = side + (queries % side === 0 ? 0 : 1);
  const columns = Math.floor(queries / rows);
  const cells = bicubic(data as Float32Array, height, width, rows, columns);
  const out = new Float32Array(queries); // zeros where the sides do not fill it
  out.set(cells.subarray(0, queries));
  return { dims: [1, queries, 1], data: out };
}

/** The level of the U-Net that an attention is on: its cells are h/2ᵏ × w/2ᵏ, rounded up. */
function levelOf(at: string, levels: number): number {
  const { part, block } = blockOf(at);
  return part === "down" ? block : part === "up" ? levels - 1 - block : levels - 1;
}

/** Rows [1, T, C] of several images beside each other: [1, ΣT, C]. */
function joinTokens(parts: readonly Tensor[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, { data }) => sum + data.length, 0));
  let at = 0;
  for (const { data } of parts) {
    whole.set(data as Float32Array, at);
    at += data.length;
  }
  return whole;
}

/** k and v of every attention, of the unconditional rows first where there is guidance. */
async function rowsOf({ id, loaded, images }: ChosenIpAdapter, rows: number): Promise<Record<string, Tensor>[][]> {
  const { adapter, run } = loaded;
  const prompt: Record<string, Tensor>[] = [];
  const without: Record<string, Tensor>[] = [];
  for (const read of images) {
    const pixels = await read();
    const tokensFrom = async (feeds: Readonly<Record<string, Tensor>>) => {
      const tokens = await run.tokens(feeds);
      checkFinite(`the IP-Adapter "${id}"`, Object.values(tokens));
      return tokens;
    };
    const tokensOf = async (pixel_values: Tensor) => {
      const { image_embeds, penultimate } = await run.encoder({ pixel_values });
      checkFinite("the IP-Adapters' image encoder", [image_embeds!, penultimate!]);
      return tokensFrom(adapter.kind === "base" ? { image_embeds: image_embeds! } : { penultimate: penultimate! });
    };
    prompt.push(await tokensOf(pixels));
    if (rows === 1) continue;
    // Classic: no image is an embedding of zeros; Plus and Full: what the encoder makes of a picture of zeros.
    const zeros = { dims: pixels.dims, data: new Float32Array(pixels.data.length) };
    const nothing = {
      dims: [1, adapter.encoder.config.projection_dim],
      data: new Float32Array(adapter.encoder.config.projection_dim),
    };
    without.push(adapter.kind === "base" ? await tokensFrom({ image_embeds: nothing }) : await tokensOf(zeros));
  }
  return [...Array<typeof without>(rows - 1).fill(without), prompt];
}

/**
 * What IP-Adapters add to a U-Net.
 * @param count rows of the U-Net's inputs, the prompt's last
 * @param cells [h, w] of the latents
 * @throws Error when a scale names a block that the U-Net does not have
 */
export async function addIpAdapters(
  model: Pick<BaseModel, "networks" | "unet">,
  chosen: readonly ChosenIpAdapter[],
  count: number,
  [height, width]: readonly [number, number],
): Promise<Additions> {
  const grafts: Graft[] = [];
  const feeds: Record<string, Tensor> = {};
  const places = crossAttentions(model.networks.unet);
  const blocks = attentionBlocks(model.unet);
  const levels = blocks.down.length;
  for (const [index, one] of chosen.entries()) {
    const scales = scalesOf(
      one.scale,
      blocks,
      places.map(({ at }) => at),
    );
    if (scales.every((scale) => scale === 0)) continue;
    const rows = await rowsOf(one, count);
    for (const [i, { at, width: size }] of places.entries()) {
      const scale = scales[i]!;
      if (scale === 0) continue;
      const masked = one.mask !== null;
      grafts.push({ kind: "attention", at, index, masked });
      for (const which of ["k", "v"] as const) {
        const all = joinTokens(rows.flatMap((images) => images.map((outputs) => outputs[`${which}_${i}`]!)));
        // The attention is linear in v: there the scale is one factor for all queries.
        const data = which === "v" && scale !== 1 ? all.map((value) => value * scale) : all;
        feeds[`${at}:${which}:${index}`] = { dims: [rows.length, all.length / rows.length / size, size], data };
      }
      if (one.mask !== null) {
        const level = 2 ** levelOf(at, levels);
        feeds[`${at}:mask:${index}`] = maskOf(one.mask, Math.ceil(height / level) * Math.ceil(width / level));
      }
    }
  }
  return { grafts, feeds };
}

import type { EncoderConfig } from "../models/config.ts";
import { residualLevels, skipChannels } from "../models/encoder.ts";
import { CELL } from "../models/vae.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { GenerationRequest } from "../schema/generation-request.ts";
import type { LoadedControlNet } from "./model.ts";
import { fill, takeRows } from "./rows.ts";

export type ControlRequest = GenerationRequest["controls"][number];

/** What a request says of one ControlNet, as it is carried out. */
interface Settled {
  /** By which it is known in the request. */
  readonly id: string;
  readonly controlnet: LoadedControlNet;
  /** The factor of each residual. */
  readonly scales: readonly number[];
  /** Residuals for the prompt's row alone: the ControlNet is not run on the unconditional one. */
  readonly conditionalOnly: boolean;
  /** Factors of the cells: mask_0, mask_1, … one a level of the U-Net. */
  readonly masks: Readonly<Record<string, Tensor>>;
  /** When each of its hints is open: one, but for a ControlNet-Union. */
  readonly windows: readonly Window[];
  /** Of a ControlNet-Union: 1 for each of its types, [1, types]. */
  readonly control_type: Tensor | null;
}

interface Window {
  readonly control_guidance_start: number;
  readonly control_guidance_end: number;
}

/** One ControlNet of a request, ready to run on one picture. */
export interface Control extends Settled {
  /** Of each of its hints, [1, C0, h, w]. */
  readonly hint_embeddings: readonly Tensor[];
}

/** diffusers' guess mode: factors 0.1 … 1 over the residuals, evenly spaced in the logarithm. */
const logspace = (i: number, count: number) => 10 ** (i / (count - 1) - 1);

/** "My prompt is more important" of Mikubill/sd-webui-controlnet: the outer residuals count less (soft_injection in hook.py). */
const soft = (i: number) => 0.825 ** (12 - i);

/** The paper's 3.4 (arXiv 2302.05543): w_i = 64 / h_i, with h_i the height of residual i. */
const byResolution = (height: number) => 64 / height;

/** The factor of each of a ControlNet's residuals, for latents of `height` cells. */
function residualScales(
  control: ControlRequest,
  { config }: LoadedControlNet,
  request: GenerationRequest,
  height: number,
) {
  const levels = residualLevels(config);
  return levels.map((level, i) => {
    let scale = control.conditioning_scale * (control.layer_scales?.[i] ?? 1);
    if (request.guess_mode && !config.global_pool_conditions) {
      scale *= logspace(i, levels.length);
    }
    if (control.control_mode !== "balanced") {
      scale *= soft(i);
    }
    if (request.cfg_resolution_weighting) {
      scale *= byResolution(Math.ceil(height / 2 ** level));
    }
    return scale;
  });
}

/** A mask [1, 1, H, W] as means over the cells of a coarser grid, whose last row and column may be smaller. */
function shrink({ dims, data }: Tensor, size: number): Tensor {
  const [height, width] = dims.slice(2) as [number, number];
  const [rows, columns] = [Math.ceil(height / size), Math.ceil(width / size)];
  const sums = new Float64Array(rows * columns);
  const counts = new Float64Array(rows * columns);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const cell = Math.floor(y / size) * columns + Math.floor(x / size);
      sums[cell]! += Number(data[y * width + x]);
      counts[cell]!++;
    }
  }
  return { dims: [1, 1, rows, columns], data: Float32Array.from(sums, (sum, i) => sum / counts[i]!) };
}

/** @param mask [1, 1, H, W] in 0 … 1, or null for the whole picture */
function cellFactors(mask: Tensor | null, levels: number): Control["masks"] {
  const perLevel = Array.from({ length: levels }, (_, k) => [
    `mask_${k}`,
    mask === null ? fill([1, 1, 1, 1], 1) : shrink(mask, CELL * 2 ** k),
  ]);
  return Object.fromEntries(perLevel);
}

/** What is one evaluation: a control of the request, or all those that name the same ControlNet-Union. */
export interface Group extends Pick<Settled, "controlnet" | "windows" | "control_type"> {
  /** What holds for all of its hints; its conditioning_scale is for the residuals. */
  readonly control: ControlRequest;
  /** Its hints' places among the request's controls, each with the factor and the type that a Union's hint encoder is told. */
  readonly hints: readonly { readonly index: number; readonly told: Readonly<Record<string, Tensor>> }[];
}

/** A ControlNet with what the request says of it, settled for a picture of `height` latent cells. */
export function settleControl(
  { control, controlnet, windows, control_type }: Group,
  request: GenerationRequest,
  { mask, height }: { mask: Tensor | null; height: number },
): Settled {
  const { control_mode } = control;
  return {
    id: control.controlnet,
    controlnet,
    windows,
    control_type,
    scales: residualScales(control, controlnet, request, height),
    conditionalOnly:
      request.guess_mode ||
      request.cfg_resolution_weighting ||
      control_mode === "control" ||
      controlnet.config.global_pool_conditions,
    masks: cellFactors(mask, controlnet.config.block_out_channels.length),
  };
}

/** Residuals by the U-Net's input names: down_residual_0 …, mid_residual. */
export type Residuals = Readonly<Record<string, Tensor>>;

/** The sum over no ControlNets: zeros of [1, C, 1, 1], which broadcast. @param count the first so many alone */
export function noResiduals(config: EncoderConfig, count = Number.POSITIVE_INFINITY): Residuals {
  const channels = skipChannels(config);
  const all = [
    ...channels.map((size, i) => [`down_residual_${i}`, fill([1, size, 1, 1], 0)] as const),
    ["mid_residual", fill([1, config.block_out_channels.at(-1)!, 1, 1], 0)] as const,
  ];
  return Object.fromEntries(all.slice(0, count));
}

/** Whether a ControlNet runs at evaluation `step` of `total` (diffusers' controlnet_keep); at scale 0 it would add nothing. */
export function runsAt(control: Settled, step: number, total: number): boolean {
  return openHints(control, step, total).length > 0;
}

/** Which of its hints a ControlNet is shown at evaluation `step` of `total`. */
export function openHints({ scales, windows }: Settled, step: number, total: number): number[] {
  if (scales.every((scale) => scale === 0)) return [];
  return [...windows.keys()].filter((i) => {
    const { control_guidance_start: start, control_guidance_end: end } = windows[i]!;
    return step / total >= start && (step + 1) / total <= end;
  });
}

/** The sum of equal shapes; of one, itself. */
function sum(tensors: readonly Tensor[]): Tensor {
  const [first, ...others] = tensors as [Tensor, ...Tensor[]];
  if (others.length === 0) return first;
  const data = Float32Array.from(first.data as Float32Array);
  for (const other of others) {
    for (let i = 0; i < data.length; i++) data[i]! += Number(other.data[i]);
  }
  return { dims: first.dims, data };
}

/**
 * What all ControlNets of a step are told: one row, or with guidance two, the unconditional first; what is the same for both is there
 * once, [1, …].
 */
export type StepInputs = Readonly<Record<string, Tensor>>;

/**
 * What one ControlNet is told, but for the residuals summed so far.
 * @param hints which of its hints it is shown
 */
export function controlFeeds(control: Control, hints: readonly number[], inputs: StepInputs): StepInputs {
  const rows = inputs.encoder_hidden_states!.dims[0]!;
  const own = control.conditionalOnly ? 1 : rows; // the last rows of the step's
  const count = control.scales.length;
  const scales = new Float32Array(rows * count); // [rows, residuals]
  for (let row = rows - own; row < rows; row++) {
    scales.set(control.scales, row * count);
  }
  const source = BigInt64Array.from({ length: rows }, (_, row) => BigInt(Math.max(0, row - (rows - own))));
  const ownInputs = Object.entries(inputs).map(([name, tensor]) => [
    name,
    tensor.dims[0] === 1 ? tensor : takeRows(tensor, rows - own, rows),
  ]);
  return {
    ...Object.fromEntries(ownInputs),
    ...control.masks,
    ...(control.control_type !== null && { control_type: control.control_type }),
    hint_embedding: sum(hints.map((i) => control.hint_embeddings[i]!)),
    rows: { dims: [rows], data: source },
    scales: { dims: [rows, count], data: scales },
  };
}

/**
 * The residuals summed so far, plus those of one more ControlNet.
 * @param before all of them, or the first branch + 1 alone: then the ControlNet's outer part runs (src/models/shallow.ts)
 */
export async function addResiduals(
  before: Residuals,
  control: Control,
  hints: readonly number[],
  inputs: StepInputs,
): Promise<Residuals> {
  const { controlnet, shallow } = control.controlnet.run;
  const names = Object.keys(before);
  const run = names.length === control.scales.length ? controlnet : shallow(names.length - 1);
  const sums = await run({ ...controlFeeds(control, hints, inputs), ...before });
  return Object.fromEntries(names.map((name) => [name, sums[`${name}_out`]!]));
}

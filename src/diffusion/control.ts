import type { EncoderConfig } from "../models/config.ts";
import { residualLevels, skipChannels } from "../models/encoder.ts";
import { CELL } from "../models/vae.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { GenerationRequest } from "../schema/generation-request.ts";
import type { LoadedControlNet } from "./model.ts";
import { fill, takeRows } from "./rows.ts";

type ControlRequest = GenerationRequest["controls"][number];

/** What a request says of one ControlNet, as it is carried out. */
interface Settled {
  readonly controlnet: LoadedControlNet;
  /** The factor of each residual. */
  readonly scales: readonly number[];
  /** Residuals for the prompt's row alone: the ControlNet is not run on the unconditional one. */
  readonly conditionalOnly: boolean;
  /** Factors of the cells: mask_0, mask_1, … one a level of the U-Net. */
  readonly masks: Readonly<Record<string, Tensor>>;
  readonly control_guidance_start: number;
  readonly control_guidance_end: number;
}

/** One ControlNet of a request, ready to run on one picture. */
export interface Control extends Settled {
  /** [1, C0, h, w]. */
  readonly hint_embedding: Tensor;
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

/** A ControlNet with what the request says of it, settled for a picture of `height` latent cells. */
export function settle(
  control: ControlRequest,
  controlnet: LoadedControlNet,
  request: GenerationRequest,
  { mask, height }: { mask: Tensor | null; height: number },
): Settled {
  const { control_guidance_start, control_guidance_end, control_mode } = control;
  return {
    controlnet,
    scales: residualScales(control, controlnet, request, height),
    conditionalOnly:
      request.guess_mode ||
      request.cfg_resolution_weighting ||
      control_mode === "control" ||
      controlnet.config.global_pool_conditions,
    masks: cellFactors(mask, controlnet.config.block_out_channels.length),
    control_guidance_start,
    control_guidance_end,
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
  const { scales, control_guidance_start: start, control_guidance_end: end } = control;
  return scales.some((scale) => scale !== 0) && step / total >= start && (step + 1) / total <= end;
}

/** What all ControlNets of a step are told: one row, or with guidance two, the unconditional first; all [rows, …]. */
export type StepInputs = Readonly<Record<string, Tensor>> & { readonly sample: Tensor };

/**
 * The residuals summed so far, plus those of one more ControlNet.
 * @param before all of them, or the first branch + 1 alone: then the ControlNet's outer part runs (src/models/shallow.ts)
 */
export async function addResiduals(before: Residuals, control: Control, inputs: StepInputs): Promise<Residuals> {
  const rows = inputs.sample.dims[0]!;
  const own = control.conditionalOnly ? 1 : rows; // the last rows of the step's
  const count = control.scales.length;
  const scales = new Float32Array(rows * count); // [rows, residuals]
  for (let row = rows - own; row < rows; row++) {
    scales.set(control.scales, row * count);
  }
  const source = BigInt64Array.from({ length: rows }, (_, row) => BigInt(Math.max(0, row - (rows - own))));
  const ownInputs = Object.entries(inputs).map(([name, tensor]) => [name, takeRows(tensor, rows - own, rows)]);
  const { controlnet, shallow } = control.controlnet.run;
  const names = Object.keys(before);
  const run = names.length === count ? controlnet : shallow(names.length - 1);
  const sums = await run({
    ...Object.fromEntries(ownInputs),
    ...before,
    ...control.masks,
    hint_embedding: control.hint_embedding,
    rows: { dims: [rows], data: source },
    scales: { dims: [rows, count], data: scales },
  });
  return Object.fromEntries(names.map((name) => [name, sums[`${name}_out`]!]));
}

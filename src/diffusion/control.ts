import type { UnetConfig } from "../models/config.ts";
import { skipChannels } from "../models/encoder.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { LoadedControlNet } from "./model.ts";
import { fill, takeRows } from "./rows.ts";

/** One ControlNet of a request, ready to run on one picture. */
export interface Control {
  readonly controlnet: LoadedControlNet;
  /** [1, C0, h, w]. */
  readonly hint_embedding: Tensor;
  readonly conditioning_scale: number;
  readonly control_guidance_start: number;
  readonly control_guidance_end: number;
}

/** Residuals by the U-Net's input names: down_residual_0 …, mid_residual. */
export type Residuals = Readonly<Record<string, Tensor>>;

/** The sum over no ControlNets: zeros of [1, C, 1, 1], which broadcast. */
export function noResiduals(config: UnetConfig): Residuals {
  const channels = skipChannels(config);
  return Object.fromEntries([
    ...channels.map((size, i) => [`down_residual_${i}`, fill([1, size, 1, 1], 0)]),
    ["mid_residual", fill([1, config.block_out_channels.at(-1)!, 1, 1], 0)],
  ]);
}

/** Whether a ControlNet runs at evaluation `step` of `total` (diffusers' controlnet_keep); at scale 0 it would add nothing. */
export function runsAt(control: Control, step: number, total: number): boolean {
  const { conditioning_scale, control_guidance_start: start, control_guidance_end: end } = control;
  return conditioning_scale !== 0 && step / total >= start && (step + 1) / total <= end;
}

/** diffusers' guess mode: factors 0.1 … 1 over the residuals, evenly spaced in the logarithm. */
const logspace = (count: number) => Array.from({ length: count }, (_, i) => 10 ** (i / (count - 1) - 1));

/** What all ControlNets of a step are told, as the U-Net is: one row, or with guidance two, the unconditional first. */
export interface StepInputs {
  readonly sample: Tensor;
  readonly timestep: Tensor;
  readonly encoder_hidden_states: Tensor;
}

/** The residuals summed so far, plus those of one more ControlNet. */
export async function addResiduals(
  before: Residuals,
  { controlnet, hint_embedding, conditioning_scale }: Control,
  inputs: StepInputs,
  guessMode: boolean,
): Promise<Residuals> {
  const pooled = controlnet.config.global_pool_conditions;
  const rows = inputs.sample.dims[0]!;
  // In guess mode only the last row, the prompt's, is controlled: the ControlNet runs on that alone.
  const own = guessMode || pooled ? 1 : rows;
  const count = Object.keys(before).length;
  const factors = guessMode && !pooled ? logspace(count) : Array<number>(count).fill(1);
  const scales = new Float32Array(rows * count); // [rows, residuals]
  for (let row = rows - own; row < rows; row++) {
    scales.set(
      factors.map((factor) => factor * conditioning_scale),
      row * count,
    );
  }
  const source = BigInt64Array.from({ length: rows }, (_, row) => BigInt(Math.max(0, row - (rows - own))));
  const ownInputs = Object.entries(inputs).map(([name, tensor]) => [name, takeRows(tensor, rows - own, rows)]);
  const sums = await controlnet.run.controlnet({
    ...Object.fromEntries(ownInputs),
    ...before,
    hint_embedding,
    rows: { dims: [rows], data: source },
    scales: { dims: [rows, count], data: scales },
  });
  return Object.fromEntries(Object.keys(before).map((name) => [name, sums[`${name}_out`]!]));
}

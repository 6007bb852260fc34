/** What a single file says of itself that was trained with EDM's noise (arXiv 2206.00364): Playground v2.5 and CosXL, by tensors beside its networks. */
import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import type { Checkpoint } from "./checkpoint.ts";
import type { VaeConfig } from "./config.ts";
import { CheckpointError } from "./safetensors.ts";
import type { WeightSource } from "./weights.ts";

/** Names of the tensors read here. */
export const EDM_MARKS = /^edm_(mean|std|vpred\.sigma_(min|max))$/;

/** More than that is no mark. */
const MOST_VALUES = 64;

const DECODERS = {
  F32: (bytes: ArrayBuffer) => new Float32Array(bytes),
  F64: (bytes: ArrayBuffer) => Float32Array.from(new Float64Array(bytes)),
  F16: (bytes: ArrayBuffer) => Float32Array.from(new Float16Array(bytes)),
  BF16: (bytes: ArrayBuffer) => new Float32Array(Uint32Array.from(new Uint16Array(bytes), (half) => half << 16).buffer),
};

/** The values of a small tensor. @throws CheckpointError */
function values(folder: string, name: string, { dtype, shape, location, offset, length }: WeightSource): number[] {
  const decode = DECODERS[dtype as keyof typeof DECODERS];
  const count = shape.reduce((product, size) => product * size, 1);
  if (decode === undefined || count < 1 || count > MOST_VALUES) {
    throw new CheckpointError(`"${name}" is ${dtype} [${shape}], not up to ${MOST_VALUES} numbers`);
  }
  const bytes = new Uint8Array(length);
  const file = openSync(join(folder, location), "r");
  try {
    if (readSync(file, bytes, 0, length, offset) !== length) throw new CheckpointError(`"${name}" ends early`);
  } finally {
    closeSync(file);
  }
  const numbers = [...decode(bytes.buffer)];
  if (!numbers.every(Number.isFinite)) throw new CheckpointError(`"${name}" has a value that is no number`);
  return numbers;
}

/** diffusers' for Playground v2.5 (loaders/single_file_utils.py). */
const PLAYGROUND = {
  _class_name: "EDMDPMSolverMultistepScheduler",
  prediction_type: "epsilon",
  sigma_data: 0.5,
  sigma_max: 80,
  sigma_min: 0.002,
  rho: 7,
  solver_order: 2,
};
const PLAYGROUND_SCALING_FACTOR = 0.5;
/** Where CosXL's file has no lower end (ComfyUI, ModelSamplingContinuousEDM). */
const LOWEST_SIGMA = 0.002;

/**
 * scheduler_config.json and what of the VAE's config is other than the family's; null for a file that says nothing of EDM.
 * @throws CheckpointError
 */
export function readEdm({ folder, tensors }: Checkpoint): { scheduler: object; vae: Partial<VaeConfig> } | null {
  const read = (name: string) => {
    const source = tensors.get(name);
    return source === undefined ? null : values(folder, name, source);
  };
  const [mean, std] = [read("edm_mean"), read("edm_std")];
  if (mean !== null && std !== null) {
    const vae = { scaling_factor: PLAYGROUND_SCALING_FACTOR, latents_mean: mean, latents_std: std };
    return { scheduler: PLAYGROUND, vae };
  }
  const [max, min] = [read("edm_vpred.sigma_max"), read("edm_vpred.sigma_min")];
  if (max === null) return null;
  const ends = { sigma_max: max[0]!, sigma_min: min?.[0] ?? LOWEST_SIGMA };
  if (!(ends.sigma_min > 0 && ends.sigma_max > ends.sigma_min)) {
    throw new CheckpointError(`edm_vpred: sigma_max ${ends.sigma_max} must be more than sigma_min ${ends.sigma_min}`);
  }
  const cosXl = { prediction_type: "v_prediction", sigma_data: 1, sigma_schedule: "exponential" };
  return { scheduler: { _class_name: "EDMEulerScheduler", ...cosXl, ...ends }, vae: {} };
}

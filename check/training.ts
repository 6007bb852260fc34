/** Gradients and optimizer steps against `<dir>/training.safetensors`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { alphasCumprod } from "../src/diffusion/schedule.ts";
import { schedulerConfig } from "../src/diffusion/scheduler-table.ts";
import { openBase, openControlNet } from "../src/models/base.ts";
import { findCheckpoint } from "../src/models/checkpoint.ts";
import { StoredWeights } from "../src/models/weights.ts";
import type { Tensor } from "../src/onnx/tensor.ts";
import { controlnetStep } from "../src/training/loss.ts";
import { readParameters } from "../src/training/stored.ts";
import { Stepper, startState } from "../workers/train/step.ts";
import type { Finding } from "./finding.ts";
import { norm, relative } from "./modules.ts";
import { readTensors } from "./tensors.ts";

/** The optimizer settings that the reference was made with. */
const SETTINGS = { learning_rate: 1e-3, adam_weight_decay: 0.01, max_grad_norm: Infinity, ema_decay: 0 };
/**
 * Of the largest gradient: what a gradient that is 0 is measured against. Attention over one cell has such ones, of 1e-10 by
 * rounding, which no two computations have alike.
 */
const ZERO = 1e-4;
const UNET = "diffusion_pytorch_model";
const [LOSS, GRADIENT] = [1e-4, 1e-3];

/** What a step is given beside timesteps; the last two of SDXL's alone. */
const INPUTS = ["latents", "noise", "encoder_hidden_states", "hint", "text_embeds", "time_ids"] as const;

/** Row `index` of the first axis. */
function row({ dims, data }: Tensor, index: number): Tensor {
  const size = data.length / dims[0]!;
  return { dims: dims.slice(1), data: data.slice(index * size, (index + 1) * size) };
}

type Batch = Record<(typeof INPUTS)[0 | 1 | 2 | 3], Tensor> & Record<string, Tensor>;

/** The batches of a file: one, or as many as its tensors have in front. */
function batchesOf(dir: string, expected: ReadonlyMap<string, Tensor>): Batch[] {
  const scheduler = JSON.parse(readFileSync(join(dir, "base/scheduler/scheduler_config.json"), "utf8"));
  const alphas = alphasCumprod(schedulerConfig("ddpm", scheduler));
  const { dims } = expected.get("latents")!;
  const several = dims.length === 5;
  return Array.from({ length: several ? dims[0]! : 1 }, (_, index) => {
    const of = (name: string) => (several ? row(expected.get(name)!, index) : expected.get(name)!);
    const timesteps = Array.from(of("timesteps").data, Number);
    const factors = (value: (alpha: number) => number): Tensor => ({
      dims: [timesteps.length, 1, 1, 1],
      data: Float32Array.from(timesteps, (t) => Math.sqrt(value(alphas[t]!))),
    });
    return {
      ...Object.fromEntries(INPUTS.filter((name) => expected.has(name)).map((name) => [name, of(name)])),
      timestep: { dims: [timesteps.length], data: Float32Array.from(timesteps) },
      alpha: factors((alpha) => alpha),
      sigma: factors((alpha) => 1 - alpha),
    } as unknown as Batch;
  });
}

async function openStepper(dir: string, id: string, { latents, encoder_hidden_states }: Batch) {
  const base = openBase(join(dir, "base"));
  const stored = findCheckpoint(join(dir, "base", "unet"), UNET);
  const folder = join(dir, "controlnets", id);
  const parameters = readParameters(findCheckpoint(folder, UNET));
  const shapes = new Map([...parameters.tensors].map(([name, tensor]) => [name, tensor.dims]));
  const { config } = openControlNet(folder);
  const { prediction_type } = schedulerConfig("ddpm", base.scheduler as Record<string, unknown>);
  const [rows, , height, width] = latents.dims as [number, number, number, number];
  const graph = (batch: number) => {
    const size = { batch, height, width, tokens: encoder_hidden_states.dims[1]! };
    const locked = new StoredWeights(stored.tensors);
    return {
      bytes: controlnetStep(locked, base.unet, config, shapes, size, prediction_type),
      folder: stored.folder,
    };
  };
  return Stepper.open(graph, rows, startState(parameters, SETTINGS));
}

/** The tensors whose names begin so, by the rest of their names. */
const named = (expected: ReadonlyMap<string, Tensor>, prefix: string) =>
  [...expected].flatMap(([key, tensor]) =>
    key.startsWith(prefix) ? [[key.slice(prefix.length), tensor] as const] : [],
  );
const numberOf = ({ data }: Tensor) => Number(data[0]);

/** A ControlNet's loss, and its gradients: some of them whole, the length of others, and of all of them together. */
async function checkGradients(
  dir: string,
  id: string,
  expected: ReadonlyMap<string, Tensor>,
  batch: Batch,
): Promise<Finding[]> {
  const stepper = await openStepper(dir, id, batch);
  const loss = await stepper.accumulate(batch);
  await stepper.release();
  const own = (name: string) => {
    const gradient = stepper.gradients.tensors.get(name);
    if (gradient === undefined) throw new Error(`the ControlNet "${id}" has no parameter "${name}"`);
    return gradient;
  };
  const wanted = numberOf(expected.get(`${id}.loss`)!);
  const gradients = named(expected, `${id}.grad.`);
  const norms = named(expected, `${id}.norm.`);
  const floor =
    ZERO * Math.max(...gradients.map(([, tensor]) => norm(tensor)), ...norms.map(([, one]) => numberOf(one)));
  const errors = gradients.map(([name, tensor]) => relative(own(name), tensor, floor));
  const apart = (length: number, of: Tensor) => Math.abs(length - numberOf(of)) / Math.max(numberOf(of), floor);
  const lengths = norms.map(([name, length]) => apart(norm(own(name)), length));
  const whole = expected.get(`${id}.grad_norm`);
  const all = { dims: [], data: stepper.gradients.data };
  return [
    { subject: `training ${id}.loss`, error: Math.abs(loss - wanted) / wanted, bound: LOSS },
    { subject: `training ${id}.grad (${errors.length} tensors)`, error: Math.max(...errors), bound: GRADIENT },
    ...(norms.length === 0
      ? []
      : [{ subject: `training ${id}.norm (${norms.length} tensors)`, error: Math.max(...lengths), bound: GRADIENT }]),
    ...(whole === undefined
      ? []
      : [{ subject: `training ${id}.grad_norm`, error: apart(norm(all), whole), bound: GRADIENT }]),
  ];
}

/** An untrained ControlNet: which of its parameters the first batch moves, and some steps of AdamW. */
async function checkSteps(
  dir: string,
  expected: ReadonlyMap<string, Tensor>,
  batches: readonly Batch[],
): Promise<Finding[]> {
  const stepper = await openStepper(dir, "untrained", batches[0]!);
  const losses = expected.get("adamw.losses")!;
  let apart = 0;
  let moving = 0;
  for (const [i, batch] of batches.slice(0, losses.data.length).entries()) {
    apart = Math.max(apart, Math.abs((await stepper.accumulate(batch)) - Number(losses.data[i])));
    if (i === 0) {
      // Which parameters of the untrained net have a gradient at all: not one may differ.
      moving = named(expected, "untrained.grad.").filter(([name, largest]) => {
        const moves = stepper.gradients.tensors.get(name)!.data.some((value) => value !== 0);
        return moves !== (largest.data[0] !== 0);
      }).length;
    }
    stepper.update(i + 1, SETTINGS);
  }
  await stepper.release();
  const after = named(expected, "adamw.after.").map(([name, tensor]) =>
    relative(stepper.state.parameters.tensors.get(name)!, tensor),
  );
  return [
    { subject: "training untrained: tensors that move and should not, or the reverse", error: moving, bound: 0 },
    { subject: "training adamw.losses", error: apart, bound: LOSS },
    ...(after.length === 0 ? [] : [{ subject: "training adamw.after", error: Math.max(...after), bound: 1e-2 }]),
  ];
}

export async function check(dir: string): Promise<Finding[]> {
  const expected = readTensors(join(dir, "training.safetensors"));
  const batches = batchesOf(dir, expected);
  const trained = [...expected.keys()].flatMap((key) => (/^[^.]+\.loss$/.test(key) ? [key.split(".")[0]!] : []));
  const findings: Finding[] = [];
  for (const id of trained.filter((id) => id !== "untrained")) {
    findings.push(...(await checkGradients(dir, id, expected, batches[0]!)));
  }
  if (expected.has("adamw.losses")) findings.push(...(await checkSteps(dir, expected, batches)));
  return findings;
}

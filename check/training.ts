/** Gradients and optimiser steps against `<dir>/training.safetensors`. */
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

/** The optimiser settings that the reference was made with. */
const SETTINGS = { learning_rate: 1e-3, adam_weight_decay: 0.01, max_grad_norm: Infinity, ema_decay: 0 };
const STEPS = 6;
/**
 * Of the largest gradient: what a gradient that is 0 is measured against. Attention over one cell has such ones, of 1e-10 by
 * rounding, which no two computations have alike.
 */
const ZERO = 1e-4;
const UNET = "diffusion_pytorch_model";

/** Row `index` of the first axis. */
function row({ dims, data }: Tensor, index: number): Tensor {
  const size = data.length / dims[0]!;
  return { dims: dims.slice(1), data: data.slice(index * size, (index + 1) * size) };
}

async function openStepper(dir: string, id: string, { dims }: Tensor) {
  const base = openBase(join(dir, "base"));
  const stored = findCheckpoint(join(dir, "base", "unet"), UNET);
  const folder = join(dir, "controlnets", id);
  const parameters = readParameters(findCheckpoint(folder, UNET));
  const shapes = new Map([...parameters.tensors].map(([name, tensor]) => [name, tensor.dims]));
  const { config } = openControlNet(folder);
  const graph = (batch: number) => {
    const size = { batch, height: dims[2]!, width: dims[3]! };
    const bytes = controlnetStep(new StoredWeights(stored.tensors), base.unet, config, shapes, size, "epsilon");
    return { bytes, folder: stored.folder };
  };
  return Stepper.open(graph, dims[0]!, startState(parameters, SETTINGS));
}

export async function check(dir: string): Promise<Finding[]> {
  const expected = readTensors(join(dir, "training.safetensors"));
  const scheduler = JSON.parse(readFileSync(join(dir, "base/scheduler/scheduler_config.json"), "utf8"));
  const alphas = alphasCumprod(schedulerConfig("ddpm", scheduler));
  const batch = (index: number): Record<string, Tensor> => {
    const of = (name: string) => row(expected.get(name)!, index);
    const timesteps = Array.from(of("timesteps").data, Number);
    const factors = (value: (alpha: number) => number): Tensor => ({
      dims: [timesteps.length, 1, 1, 1],
      data: Float32Array.from(timesteps, (t) => Math.sqrt(value(alphas[t]!))),
    });
    return {
      latents: of("latents"),
      noise: of("noise"),
      encoder_hidden_states: of("encoder_hidden_states"),
      hint: of("hint"),
      timestep: { dims: [timesteps.length], data: Float32Array.from(timesteps) },
      alpha: factors((alpha) => alpha),
      sigma: factors((alpha) => 1 - alpha),
    };
  };
  const of = (prefix: string) =>
    [...expected].flatMap(([key, tensor]) =>
      key.startsWith(prefix) ? [[key.slice(prefix.length), tensor] as const] : [],
    );
  const latents = row(expected.get("latents")!, 0);

  const canny = await openStepper(dir, "canny", latents);
  const loss = await canny.accumulate(batch(0));
  await canny.release();
  const wanted = Number(expected.get("canny.loss")!.data[0]);
  const gradients = of("canny.grad.");
  const floor = ZERO * Math.max(...gradients.map(([, tensor]) => norm(tensor)));
  const errors = gradients.map(([name, tensor]) => relative(canny.gradients.tensors.get(name)!, tensor, floor));

  const stepper = await openStepper(dir, "untrained", latents);
  const losses = expected.get("adamw.losses")!;
  let apart = 0;
  let moving = 0;
  for (let i = 0; i < STEPS; i++) {
    apart = Math.max(apart, Math.abs((await stepper.accumulate(batch(i))) - Number(losses.data[i])));
    if (i === 0) {
      // Which parameters of the untrained net have a gradient at all: not one may differ.
      moving = of("untrained.grad.").filter(([name, largest]) => {
        const moves = stepper.gradients.tensors.get(name)!.data.some((value) => value !== 0);
        return moves !== (largest.data[0] !== 0);
      }).length;
    }
    stepper.update(i + 1, SETTINGS);
  }
  await stepper.release();
  const after = of("adamw.after.").map(([name, tensor]) =>
    relative(stepper.state.parameters.tensors.get(name)!, tensor),
  );
  return [
    { subject: "training canny.loss", error: Math.abs(loss - wanted) / wanted, bound: 1e-4 },
    { subject: `training canny.grad (${errors.length} tensors)`, error: Math.max(...errors), bound: 1e-3 },
    { subject: "training untrained: tensors that move and should not, or the reverse", error: moving, bound: 0 },
    { subject: "training adamw.losses", error: apart, bound: 1e-4 },
    ...(after.length === 0 ? [] : [{ subject: "training adamw.after", error: Math.max(...after), bound: 1e-2 }]),
  ];
}

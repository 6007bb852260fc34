import { readFileSync } from "node:fs";
import { join } from "node:path";
import { NoiseGenerator } from "../src/diffusion/noise.ts";
import { createSampler, type Sampler } from "../src/diffusion/samplers.ts";
import { SchedulerName } from "../src/schema/scheduler-names.ts";
import { SCHEDULER_FACTS } from "../src/schema/schedulers.ts";
import type { Finding } from "./finding.ts";
import { readTensors } from "./tensors.ts";

const BOUND = 1e-4;
/** Latents that start at 4096 (rescale_betas_zero_snr) and end near 1 keep less than that in float32, also in torch. */
const FLOAT32 = 2 ** -22;

/** SD 1.x's scheduler_config.json, which trajectories are made with unless their entry has a config of its own. */
const SD_CONFIG = {
  num_train_timesteps: 1000,
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: "scaled_linear",
  steps_offset: 1,
  clip_sample: false,
  set_alpha_to_one: false,
  skip_prk_steps: true,
};

/**
 * What a trajectory's entry in samplers.json says; `config` adds to SD_CONFIG, `strength` starts from noised latents. Instead of
 * `timesteps`, `evaluations_at`: the trajectory has the latents after each step, not after each evaluation.
 */
interface Entry {
  timesteps?: number[];
  evaluations_at?: number[];
  init_noise_sigma: number;
  config?: Record<string, unknown>;
  strength?: number;
  eta?: number;
}

/** What an ending of a scheduler's name in samplers.json adds to config and request. */
const ENDINGS: Readonly<Record<string, Pick<Entry, "config" | "eta">>> = {
  _trailing: { config: { timestep_spacing: "trailing" } },
  _zero_snr: { config: { timestep_spacing: "trailing", rescale_betas_zero_snr: true } },
  _eta0: { eta: 0 },
};
/** The class that a config must be of for EDM's schedulers. */
const EDM_CLASS = { _class_name: "EDMEulerScheduler" };
/** diffusers' TCDScheduler.step. */
const TCD_ETA = 0.3;

/** The sampler that an entry's key (prediction.scheduler.steps) and content name. */
function samplerOf(key: string, entry: Entry): Sampler {
  const [prediction_type, spelled, steps] = key.split(".") as [string, string, string];
  const ending = Object.keys(ENDINGS).find((one) => spelled.endsWith(one));
  const name = SchedulerName.parse(spelled.slice(0, spelled.length - (ending?.length ?? 0)));
  const more = ending === undefined ? {} : ENDINGS[ending]!;
  const own = SCHEDULER_FACTS[name].noise === "edm" ? EDM_CLASS : SD_CONFIG;
  const config = { ...own, prediction_type, ...more.config, ...entry.config };
  const eta = entry.eta ?? more.eta ?? (name === "tcd" ? TCD_ETA : 0);
  return createSampler(name, config, Number(steps), { strength: entry.strength ?? 1, eta });
}

const farthest = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let error = 0;
  for (let k = 0; k < b.length; k++) {
    const difference = Math.abs(a[k]! - b[k]!) / Math.max(1, Math.abs(b[k]!));
    error = Math.max(error, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
  }
  return error;
};

const SEEDS = 10_000;

/** The generator that drew `normals` first: a stochastic sampler goes on with it. Small seeds only. */
function generatorOf(normals: Float32Array, likely: number): NoiseGenerator {
  const first = normals.subarray(0, 16);
  for (let k = -1; k < SEEDS; k++) {
    const seed = k === -1 ? likely : k;
    if (farthest(new NoiseGenerator(seed).normal(16), first) < 1e-5) {
      const generator = new NoiseGenerator(seed);
      generator.normal(normals.length);
      return generator;
    }
  }
  throw new Error(`the first latents are not torch.randn of any seed below ${SEEDS}`);
}

/** The network of the trajectories: tanh(0.7 · input + timestep / 1000). */
const fakeModel = (input: Float32Array, timestep: number) => input.map((x) => Math.tanh(0.7 * x + timestep / 1000));

/** Every trajectory of `<dir>/<name>.safetensors`, walked from its x0 with the fake network. */
export async function check(dir: string, name = "samplers"): Promise<Finding[]> {
  const tensors = readTensors(join(dir, `${name}.safetensors`));
  const entries = JSON.parse(readFileSync(join(dir, `${name}.json`), "utf8")) as Record<string, Entry>;
  let seed = 0;
  return Object.entries(entries).map(([key, entry]) => {
    const sampler = samplerOf(key, entry);
    const first = tensors.get(`${key}.x0`)!.data as Float32Array;
    const trajectory = tensors.get(`${key}.trajectory`)!.data as Float32Array;

    const { initNoiseSigma } = sampler;
    const generator = generatorOf(entry.strength === undefined ? first.map((x) => x / initNoiseSigma) : first, seed);
    seed = generator.position.seed;
    let error = Math.max(
      farthest(sampler.timesteps, entry.timesteps ?? entry.evaluations_at!) / 1000,
      farthest([initNoiseSigma], [entry.init_noise_sigma]),
    );
    const clean = first.map((x) => Math.sin(x));
    let state = sampler.start(entry.strength === undefined ? first : sampler.addNoise(clean, first, 0));
    for (const [evaluation, timestep] of sampler.timesteps.entries()) {
      const output = fakeModel(sampler.input(state), timestep);
      state = sampler.next(state, output, (count) => generator.normal(count));
      const amid = entry.evaluations_at !== undefined && evaluation % 2 === 0 && evaluation < sampler.total - 1;
      if (amid) continue;
      const at = entry.evaluations_at === undefined ? evaluation : Math.floor(evaluation / 2);
      const expected = trajectory.subarray(at * first.length, (at + 1) * first.length);
      error = Math.max(error, farthest(state.latents, expected));
    }
    return { subject: `${name} ${key}`, error, bound: Math.max(BOUND, FLOAT32 * initNoiseSigma) };
  });
}

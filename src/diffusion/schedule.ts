/**
 * Noise schedules: betas, ᾱ, timesteps and their sigmas. Values are rounded to float32 wherever diffusers
 * keep a float32 tensor, so that neighbouring steps do not drift apart. Source: huggingface/diffusers,
 * src/diffusers/schedulers, `__init__` and `set_timesteps`.
 */
import type { SchedulerConfig } from "./scheduler-config.ts";

const f32 = Math.fround;

/** Nearest integer, halves to even, as numpy's round. */
export function rint(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** numpy's linspace: `count` values from start to stop, both included (a single one is start). */
export function linspace(start: number, stop: number, count: number): number[] {
  const step = (stop - start) / (count - 1);
  return Array.from({ length: count }, (_, i) =>
    i > 0 && i === count - 1 ? stop : start + (count > 1 ? i * step : 0),
  );
}

/** torch's float32 linspace, which counts from both ends towards the middle. */
function linspace32(start: number, stop: number, count: number): number[] {
  const [first, last] = [f32(start), f32(stop)];
  const step = f32(f32(last - first) / (count - 1));
  return Array.from({ length: count }, (_, i) =>
    i < Math.floor(count / 2) ? f32(first + step * i) : f32(last - step * (count - 1 - i)),
  );
}

const BETAS = {
  linear: (config) => linspace32(config.beta_start, config.beta_end, config.num_train_timesteps),
  scaled_linear: (config) =>
    linspace32(config.beta_start ** 0.5, config.beta_end ** 0.5, config.num_train_timesteps).map((x) => f32(x * x)),
  // Nichol & Dhariwal 2021 (arXiv:2102.09672), equation 17, betas capped at 0.999
  squaredcos_cap_v2: ({ num_train_timesteps: count }) => {
    const alphaBar = (t: number) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2;
    return Array.from({ length: count }, (_, i) =>
      f32(Math.min(1 - alphaBar((i + 1) / count) / alphaBar(i / count), 0.999)),
    );
  },
} satisfies Record<SchedulerConfig["beta_schedule"], (config: SchedulerConfig) => number[]>;

/** Running product; the product is kept in double, each value is rounded, as torch.cumprod does on the CPU. */
function cumprod(values: readonly number[]): number[] {
  let product = 1;
  return values.map((value) => {
    product *= value;
    return f32(product);
  });
}

/** Betas with zero terminal signal-to-noise ratio: Lin et al. 2023 (arXiv:2305.08891), algorithm 1. */
function rescaleZeroTerminalSnr(betas: readonly number[]): number[] {
  const roots = cumprod(betas.map((beta) => f32(1 - beta))).map((a) => f32(Math.sqrt(a)));
  const [first, last] = [roots[0]!, roots.at(-1)!];
  const scale = f32(first / f32(first - last));
  const alphaBars = roots.map((root) => f32(f32(f32(root - last) * scale) ** 2));
  return alphaBars.map((a, i) => f32(1 - (i === 0 ? a : f32(a / alphaBars[i - 1]!))));
}

/**
 * ᾱ_t for t = 0 … num_train_timesteps − 1. `terminal` replaces the last one under rescale_betas_zero_snr, for the
 * samplers that divide by it (diffusers' 2⁻²⁴).
 */
export function alphasCumprod(config: SchedulerConfig, terminal?: number): number[] {
  const given = config.trained_betas?.map(f32) ?? BETAS[config.beta_schedule](config);
  const betas = config.rescale_betas_zero_snr ? rescaleZeroTerminalSnr(given) : given;
  const alphas = cumprod(betas.map((beta) => f32(1 - beta)));
  if (config.rescale_betas_zero_snr && terminal !== undefined) alphas[alphas.length - 1] = terminal;
  return alphas;
}

/** The smallest ᾱ that samplers which work with σ use under rescale_betas_zero_snr; torch's square root makes σ 4096 of it. */
export const TERMINAL_ALPHA = 2 ** -24;
const TERMINAL_SIGMA = 2 ** 12;

/** σ_t = √((1 − ᾱ_t) / ᾱ_t), the noise level when the image is not scaled down. */
export function sigmasOf(alphas: readonly number[]): number[] {
  return alphas.map((a) => (a === TERMINAL_ALPHA ? TERMINAL_SIGMA : f32(Math.sqrt(f32(f32(1 - a) / a)))));
}

/**
 * `count` timesteps, descending, by config.timestep_spacing (Lin et al. 2023, table 2).
 * `open`: linspace and leading place one more and leave out the last (DPM-Solver and UniPC). `last`: how many training
 * timesteps there are to choose from. `fractional`: linspace is not rounded (Euler and Heun).
 */
export function spacedTimesteps(
  config: SchedulerConfig,
  count: number,
  { open = false, fractional = false, last = config.num_train_timesteps } = {},
): number[] {
  const placed = open ? count + 1 : count;
  const spacing = {
    linspace: () => {
      const even = linspace(0, last - 1, placed)
        .reverse()
        .slice(0, count);
      return even.map(fractional ? f32 : rint);
    },
    leading: () => {
      const ratio = Math.floor(last / placed);
      return Array.from({ length: count }, (_, i) => (placed - 1 - i) * ratio + config.steps_offset);
    },
    trailing: () => {
      // numpy's arange(last, 0, -ratio): its step is the difference of its first two values. For a few counts (61, 103)
      // rounding gives it one value more, which would be timestep -1: left out here.
      const ratio = config.num_train_timesteps / count;
      const step = last - ratio - last;
      const length = Math.min(Math.ceil(last / ratio), count);
      return Array.from({ length }, (_, i) => rint(last + i * step) - 1);
    },
  } satisfies Record<SchedulerConfig["timestep_spacing"], () => number[]>;
  return spacing[config.timestep_spacing]();
}

/** Linear interpolation in `table` at a fractional index, held at the ends (numpy's interp). */
export function interpolate(table: readonly number[], x: number): number {
  if (x <= 0) return table[0]!;
  if (x >= table.length - 1) return table.at(-1)!;
  const low = Math.floor(x);
  return table[low]! + (table[low + 1]! - table[low]!) * (x - low);
}

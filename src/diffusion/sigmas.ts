/** Noise levels that are not those of the timesteps: Karras', exponential, of a beta distribution; and their timesteps. */
import { linspace } from "./schedule.ts";
import type { SchedulerConfig } from "./scheduler-config.ts";

const f32 = Math.fround;

/** Karras et al. 2022 (arXiv:2206.00364), equation 5: `count` sigmas from max to min. */
export function karrasSigmas(max: number, min: number, count: number, rho = 7): number[] {
  const [high, low] = [max ** (1 / rho), min ** (1 / rho)];
  return linspace(0, 1, count).map((ramp) => (high + ramp * (low - high)) ** rho);
}

/** Evenly spaced in log σ (k-diffusion, get_sigmas_exponential). */
export function exponentialSigmas(max: number, min: number, count: number): number[] {
  return linspace(Math.log(max), Math.log(min), count).map(Math.exp);
}

/** Beta sampling (arXiv:2407.12173): quantiles of the beta distribution with both parameters 0.6. */
export function betaSigmas(max: number, min: number, count: number): number[] {
  return linspace(0, 1, count).map((ramp) => min + betaQuantile(1 - ramp) * (max - min));
}

/** Both parameters of the beta distribution. */
const SHAPE = 0.6;
/** B(0.6, 0.6) = Γ(0.6)² / Γ(1.2). */
const BETA_FUNCTION = 1.489192248812817 ** 2 / 0.9181687423997607;

/** The regularized incomplete beta function I_x(0.6, 0.6), by its continued fraction (DLMF 8.17.22, Lentz' method). */
function betaCdf(x: number): number {
  if (x > 0.5) return 1 - betaCdf(1 - x); // where the fraction converges fast
  let [fraction, c, d] = [1, 1, 0];
  for (let k = 0; k < 200; k++) {
    const m = Math.floor(k / 2);
    const term =
      k === 0
        ? 1
        : k % 2 === 0
          ? (m * (SHAPE - m) * x) / ((SHAPE + 2 * m - 1) * (SHAPE + 2 * m))
          : -((SHAPE + m) * (2 * SHAPE + m) * x) / ((SHAPE + 2 * m) * (SHAPE + 2 * m + 1));
    d = 1 / (1 + term * d);
    c = 1 + term / c;
    fraction *= c * d;
    if (Math.abs(c * d - 1) < 1e-16) break;
  }
  return ((x * (1 - x)) ** SHAPE / (SHAPE * BETA_FUNCTION)) * (fraction - 1);
}

/** The x with I_x(0.6, 0.6) = p, by bisection. */
function betaQuantile(p: number): number {
  if (p <= 0 || p >= 1) return p <= 0 ? 0 : 1;
  if (p > 0.5) return 1 - betaQuantile(1 - p);
  let [low, high] = [0, 0.5];
  for (let k = 0; k < 100; k++) {
    const middle = (low + high) / 2;
    if (betaCdf(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The `count` sigmas that a config asks for between the ends of its timesteps' (or its own); null = the timesteps'. */
export function chosenSigmas(config: SchedulerConfig, max: number, min: number, count: number): number[] | null {
  const ends = [config.sigma_max ?? max, config.sigma_min ?? min, count] as const;
  if (config.use_karras_sigmas) return karrasSigmas(...ends);
  if (config.use_exponential_sigmas) return exponentialSigmas(...ends);
  return config.use_beta_sigmas ? betaSigmas(...ends) : null;
}

/** The fractional timestep whose noise level is `sigma`, interpolated in log σ. `sigmas` ascend with the timestep. */
export function sigmaToTimestep(sigma: number, sigmas: readonly number[]): number {
  const log = Math.log(Math.max(sigma, 1e-10));
  const logs = sigmas.map((s) => f32(Math.log(s)));
  const above = logs.findLastIndex((l) => l <= log);
  const low = Math.min(Math.max(above, 0), logs.length - 2);
  const weight = (logs[low]! - log) / f32(logs[low]! - logs[low + 1]!);
  const clipped = Math.min(Math.max(weight, 0), 1);
  return (1 - clipped) * low + clipped * (low + 1);
}

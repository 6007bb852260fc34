/** Noise levels of a step, from ᾱ or σ. */
import type { SchedulerConfig } from "../scheduler-config.ts";
import type { NoiseLevel } from "./step.ts";

const f32 = Math.fround;

/** Level of a schedule that keeps the variance of the latents at 1. */
export const fromAlpha = (a: number): NoiseLevel => ({
  alpha: f32(Math.sqrt(a)),
  sigma: f32(Math.sqrt(f32(1 - a))),
  norm: 1,
});

/** The same, from σ = noise / signal. */
export function fromSigma(sigma: number): NoiseLevel {
  const alpha = 1 / Math.sqrt(sigma ** 2 + 1);
  return { alpha, sigma: sigma * alpha, norm: 1 };
}

/** Level of a schedule that leaves the image as it is and adds noise to it. */
export const exploding = (sigma: number): NoiseLevel => ({ alpha: 1, sigma, norm: Math.sqrt(sigma ** 2 + 1) });

export function finalSigma(config: SchedulerConfig, training: readonly number[]): number {
  return config.final_sigmas_type === "sigma_min" ? training[0]! : 0;
}

export const lambda = ({ alpha, sigma }: NoiseLevel) => Math.log(alpha) - Math.log(sigma);

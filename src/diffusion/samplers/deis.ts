/** DEIS: the noise as a polynomial in log ρ, ρ = σ/α, through the latest two or three, integrated over ρ. */
import { BETAS, type SchedulerConfig, SOLVER } from "../scheduler-config.ts";
import { solverSchedule } from "./dpm-solver.ts";
import { fromSigma } from "./levels.ts";
import { type Algorithm, epsilonOf, type Next, type Schedule, type Step, sum, type Term, x0Of } from "./step.ts";

/** The solvers' schedule, which ends at the lowest level of training, or stays at the last of the chosen ones. */
export function deisSchedule(config: SchedulerConfig, count: number): Schedule {
  const schedule = solverSchedule({ ...config, final_sigmas_type: "sigma_min" }, count);
  const chosen = config.use_karras_sigmas || config.use_exponential_sigmas || config.use_beta_sigmas;
  const sigmas = chosen ? [...schedule.sigmas.slice(0, -1), schedule.sigmas.at(-2)!] : schedule.sigmas;
  return { ...schedule, sigmas, levels: sigmas.map(fromSigma) };
}

/** An antiderivative of (log t − log c) / (log b − log c). */
const line = (t: number, b: number, c: number) => (t * (-Math.log(c) + Math.log(t) - 1)) / (Math.log(b) - Math.log(c));

/** An antiderivative of (log t − log c)(log t − log d) / ((log b − log c)(log b − log d)). */
function parabola(t: number, b: number, c: number, d: number): number {
  const [logT, logB, logC, logD] = [t, b, c, d].map(Math.log) as [number, number, number, number];
  const numerator = t * (logC * (logD - logT + 1) - logD * logT + logD + logT ** 2 - 2 * logT + 2);
  return numerator / ((logB - logC) * (logB - logD));
}

/** tAB-DEIS: Zhang & Chen 2022 (arXiv:2204.13902), equation 15 in log ρ. */
function deisStep(step: Step): Next {
  const { config, schedule, i, latents } = step;
  const count = schedule.timesteps.length;
  const few = config.lower_order_final && count < 15;
  const order = Math.min(config.solver_order, step.step + 1, few ? count - i : 3);
  const [from, to] = [schedule.levels[i]!, schedule.levels[i + 1]!];
  const epsilon = config.thresholding
    ? sum([1 / from.sigma, latents], [-from.alpha / from.sigma, x0Of(step)])
    : epsilonOf(step);
  const history = [...step.history, epsilon].slice(-config.solver_order);
  const [end, r0, r1, r2] = [i + 1, i, i - 1, i - 2].map((k) => schedule.sigmas[k]!) as [
    number,
    number,
    number,
    number,
  ];
  const weights = [
    [end - r0],
    [line(end, r0, r1) - line(r0, r0, r1), line(end, r1, r0) - line(r0, r1, r0)],
    [
      parabola(end, r0, r1, r2) - parabola(r0, r0, r1, r2),
      parabola(end, r1, r2, r0) - parabola(r0, r1, r2, r0),
      parabola(end, r2, r0, r1) - parabola(r0, r2, r0, r1),
    ],
  ][order - 1]!;
  const terms = weights.map((weight, back): Term => [to.alpha * weight, history.at(-1 - back)!]);
  return { latents: sum([to.alpha / from.alpha, latents], ...terms), history };
}

export const deis: Algorithm = {
  scheduler: {
    className: "DEISMultistepScheduler",
    keys: [...BETAS, ...SOLVER, "algorithm_type"],
    algorithms: { deis: "deis", dpmsolver: "deis", "dpmsolver++": "deis" },
    defaults: { timestep_spacing: "linspace" },
  },
  order: 1,
  schedule: deisSchedule,
  next: deisStep,
};

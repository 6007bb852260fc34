/** DPM-Solver++, multistep, and the schedule that it shares with the other solvers. */
import { alphasCumprod, interpolate, rint, sigmasOf, spacedTimesteps, TERMINAL_ALPHA } from "../schedule.ts";
import { BETAS, DPM_ALGORITHMS, type SchedulerConfig, SOLVER } from "../scheduler-config.ts";
import { chosenSigmas, sigmaToTimestep } from "../sigmas.ts";
import { finalSigma, fromSigma, lambda } from "./levels.ts";
import { type Algorithm, type Next, type Schedule, type Step, sum, type Term, x0Of } from "./step.ts";

const f32 = Math.fround;

export function solverSchedule(config: SchedulerConfig, count: number, whole = rint): Schedule {
  const alphas = alphasCumprod(config, TERMINAL_ALPHA);
  const training = sigmasOf(alphas);
  // λ = −log σ falls with t: timesteps below the clip are not used
  const last = training.filter((sigma) => -Math.log(sigma) >= config.lambda_min_clipped).length;
  let timesteps = spacedTimesteps(config, count, { open: true, last });
  let sigmas = timesteps.map((t) => interpolate(training, t));
  const chosen = chosenSigmas(config, training.at(-1)!, training[0]!, count);
  if (chosen !== null) {
    sigmas = chosen;
    timesteps = sigmas.map((sigma) =>
      (config.use_karras_sigmas || config.use_lu_lambdas ? whole : Math.trunc)(sigmaToTimestep(sigma, training)),
    );
  }
  sigmas = [...sigmas.map(f32), finalSigma(config, training)];
  return { timesteps, alphas, sigmas, levels: sigmas.map(fromSigma), initNoiseSigma: 1 };
}

/** DPM-Solver++'s: over a cosine schedule diffusers cuts Karras timesteps off where it rounds them over the others. */
function dpmSolverSchedule(config: SchedulerConfig, count: number): Schedule {
  const whole = config.beta_schedule === "squaredcos_cap_v2" ? Math.trunc : rint;
  // Lu's λ = −log σ are evenly spaced over all levels of training (arXiv:2206.00927).
  const lu = config.use_lu_lambdas && !config.use_karras_sigmas;
  const own = lu ? { ...config, use_exponential_sigmas: true, sigma_min: null, sigma_max: null } : config;
  return solverSchedule(own, count, whole);
}

/** DPM-Solver++ multistep, ODE or SDE: Lu et al. 2022 (arXiv:2211.01095), algorithm 2 and appendix. */
export function dpmSolverStep(step: Step): Next {
  const { config, schedule, i, latents } = step;
  const x0 = x0Of(step);
  const stochastic = config.algorithm_type === "sde-dpmsolver++";
  const noise = stochastic ? step.draw() : null;
  const count = schedule.timesteps.length;
  const few = config.lower_order_final && count < 15;
  const lowest = i === count - 1 && (config.euler_at_final || few || config.final_sigmas_type === "zero");
  const order = Math.min(config.solver_order, step.step + 1, lowest ? 1 : i === count - 2 && few ? 2 : 3);

  const to = schedule.levels[i + 1]!;
  const from = schedule.levels[i]!;
  const h = lambda(to) - lambda(from);
  const width = stochastic ? 2 * h : h;
  const phi = -Math.expm1(-width);
  const terms: Term[] = [
    [(to.sigma / from.sigma) * (stochastic ? Math.exp(-h) : 1), latents],
    [to.alpha * phi, x0],
  ];
  if (order > 1) {
    const before = step.history.at(-1)!;
    const r0 = (lambda(from) - lambda(schedule.levels[i - 1]!)) / h;
    const d10 = sum([1 / r0, x0], [-1 / r0, before]);
    if (order === 2) {
      const heunLike = config.solver_type === "heun";
      terms.push([to.alpha * (heunLike ? 1 - phi / width : 0.5 * phi), d10]);
    } else {
      const r1 = (lambda(schedule.levels[i - 1]!) - lambda(schedule.levels[i - 2]!)) / h;
      const d11 = sum([1 / r1, before], [-1 / r1, step.history.at(-2)!]);
      const d1 = sum([1 + r0 / (r0 + r1), d10], [-r0 / (r0 + r1), d11]);
      const d2 = sum([1 / (r0 + r1), d10], [-1 / (r0 + r1), d11]);
      // diffusers subtracts the half in the stochastic case too
      const second = (phi - width) / width ** 2 + (stochastic ? -0.5 : 0.5);
      terms.push([to.alpha * (1 - phi / width), d1], [to.alpha * second, d2]);
    }
  }
  if (noise !== null) terms.push([to.sigma * Math.sqrt(-Math.expm1(-2 * h)), noise]);
  const kept = config.solver_order - 1;
  return { latents: sum(...terms), history: kept === 0 ? [] : [...step.history, x0].slice(-kept) };
}

export const dpmSolver: Algorithm = {
  scheduler: {
    className: "DPMSolverMultistepScheduler",
    keys: [
      ...BETAS,
      ...SOLVER,
      "rescale_betas_zero_snr",
      "final_sigmas_type",
      "algorithm_type",
      "euler_at_final",
      "lambda_min_clipped",
      "variance_type",
      "use_lu_lambdas",
    ],
    defaults: { timestep_spacing: "linspace" },
    algorithms: DPM_ALGORITHMS,
  },
  order: 1,
  schedule: dpmSolverSchedule,
  next: dpmSolverStep,
};

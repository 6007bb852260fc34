/** DPM-Solver++, singlestep: each group of two or three evaluations starts anew from the same latents. */
import { BETAS, DPM_ALGORITHMS, type SchedulerConfig, SOLVER } from "../scheduler-config.ts";
import { solverSchedule } from "./dpm-solver.ts";
import { lambda } from "./levels.ts";
import { type Algorithm, type Next, type Schedule, type Step, sum, type Term, x0Of } from "./step.ts";

/** The class knows no timestep_spacing: always linspace. */
function singlestepSchedule(config: SchedulerConfig, count: number): Schedule {
  return solverSchedule({ ...config, timestep_spacing: "linspace" }, count);
}

/** The order of evaluation i of `count`: 1 2 1 2 … or 1 2 3 1 2 3 …, the last one perhaps lower (diffusers' get_order_list). */
function orderAt(
  { solver_order: most, final_sigmas_type, lower_order_final }: SchedulerConfig,
  i: number,
  count: number,
) {
  const lowest = final_sigmas_type === "zero" || (lower_order_final && count % most === 0);
  return i === count - 1 && lowest ? 1 : (i % most) + 1;
}

/** DPM-Solver++(2S) and (3S): Lu et al. 2022 (arXiv:2211.01095), algorithm 1 and appendix. */
function singlestepStep(step: Step): Next {
  const { config, schedule, i, latents } = step;
  const x0 = x0Of(step);
  const history = [...step.history, x0].slice(-config.solver_order);
  // Amid the schedule (image-to-image) there may be no earlier evaluations for the order.
  const order = Math.min(orderAt(config, i, schedule.timesteps.length), history.length);
  const base = order === 1 ? latents : step.base!;
  const [to, from] = [schedule.levels[i + 1]!, schedule.levels[i - order + 1]!];
  const h = lambda(to) - lambda(from);
  const phi = -Math.expm1(-h);
  const first = history.at(-order)!;
  const terms: Term[] = [
    [to.sigma / from.sigma, base],
    [to.alpha * phi, first],
  ];
  const slope = (back: number) => {
    const r = (lambda(schedule.levels[i - back]!) - lambda(from)) / h;
    return { r, d: sum([1 / r, history.at(-1 - back)!], [-1 / r, first]) };
  };
  const curved = to.alpha * (1 - phi / h);
  if (order === 2) {
    terms.push([config.solver_type === "heun" ? curved : 0.5 * to.alpha * phi, slope(0).d]);
  } else if (order === 3) {
    const [{ r: r0, d: d11 }, { r: r1, d: d10 }] = [slope(0), slope(1)];
    if (config.solver_type === "heun") {
      const d1 = sum([r0 / (r0 - r1), d10], [-r1 / (r0 - r1), d11]);
      const d2 = sum([2 / (r0 - r1), d11], [-2 / (r0 - r1), d10]);
      terms.push([curved, d1], [to.alpha * ((phi - h) / h ** 2 + 0.5), d2]);
    } else {
      terms.push([curved, d11]);
    }
  }
  return { latents: sum(...terms), history, base };
}

export const singlestep: Algorithm = {
  scheduler: {
    className: "DPMSolverSinglestepScheduler",
    keys: [...BETAS, ...SOLVER, "final_sigmas_type", "algorithm_type", "lambda_min_clipped", "variance_type"],
    defaults: { lower_order_final: false },
    algorithms: DPM_ALGORITHMS,
  },
  order: 1,
  schedule: singlestepSchedule,
  next: singlestepStep,
};

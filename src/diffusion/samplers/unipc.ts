/** UniPC: a predictor and a corrector of the same order. */
import { BETAS, type SchedulerConfig, SOLVER } from "../scheduler-config.ts";
import { solverSchedule } from "./dpm-solver.ts";
import { lambda } from "./levels.ts";
import { type Algorithm, type Next, type NoiseLevel, type Step, sum, type Term, x0Of } from "./step.ts";

/** x with A·x = b, by elimination with partial pivoting; A is small. */
function solve(a: readonly (readonly number[])[], b: readonly number[]): number[] {
  const rows = a.map((row, r) => [...row, b[r]!]);
  const size = rows.length;
  for (let c = 0; c < size; c++) {
    let pivot = c;
    for (let r = c + 1; r < size; r++) if (Math.abs(rows[r]![c]!) > Math.abs(rows[pivot]![c]!)) pivot = r;
    [rows[c], rows[pivot]] = [rows[pivot]!, rows[c]!];
    for (let r = 0; r < size; r++) {
      if (r === c) continue;
      const factor = rows[r]![c]! / rows[c]![c]!;
      for (let k = c; k <= size; k++) rows[r]![k]! -= factor * rows[c]![k]!;
    }
  }
  return rows.map((row, r) => row[size]! / row[r]!);
}

/** One of UniPC's two updates from `from` to `to`; `outputs` are x₀ at `from` (newest, last) and before. */
function unipcUpdate(
  config: SchedulerConfig,
  x: Float32Array,
  outputs: readonly Float32Array[],
  levels: { to: NoiseLevel; from: NoiseLevel; before: readonly NoiseLevel[] },
  corrected: Float32Array | null,
): Float32Array {
  const { to, from, before } = levels;
  const order = before.length + 1;
  const newest = outputs.at(-1)!;
  const h = lambda(to) - lambda(from);
  const ratios = [...before.map((level) => (lambda(level) - lambda(from)) / h), 1];
  const phi1 = Math.expm1(-h);
  const b1 = config.solver_type === "bh1" ? -h : phi1;
  const rhs: number[] = [];
  let phi = phi1 / -h - 1;
  for (let k = 1, factorial = 1; k <= order; k++) {
    rhs.push((phi * factorial) / b1);
    factorial *= k + 1;
    phi = phi / -h - 1 / factorial;
  }
  const size = corrected === null ? order - 1 : order;
  const matrix = rhs.slice(0, size).map((_, power) => ratios.slice(0, size).map((ratio) => ratio ** power));
  // The lowest orders have a fixed weight: 1/2 for the predictor's second and the corrector's first.
  const weights = (corrected === null ? order === 2 : order === 1) ? [0.5] : solve(matrix, rhs.slice(0, size));
  const terms: Term[] = [
    [to.sigma / from.sigma, x],
    [-to.alpha * phi1, newest],
  ];
  for (const [k] of before.entries()) {
    const weight = (-to.alpha * b1 * weights[k]!) / ratios[k]!;
    terms.push([weight, outputs.at(-2 - k)!], [-weight, newest]);
  }
  if (corrected !== null) {
    const weight = -to.alpha * b1 * weights[order - 1]!;
    terms.push([weight, corrected], [-weight, newest]);
  }
  return sum(...terms);
}

/** UniPC, predicting x₀: Zhao et al. 2023 (arXiv:2302.04867), algorithms 5 and 6. Corrects the last step, then predicts. */
function unipcStep(step: Step): Next {
  const { config, schedule, i, latents, history } = step;
  const { levels } = schedule;
  const orderAt = (index: number, done: number) =>
    Math.min(
      config.solver_order,
      done + 1,
      config.lower_order_final ? schedule.timesteps.length - index : config.solver_order,
    );
  const before = (index: number, count: number) => Array.from({ length: count }, (_, k) => levels[index - 1 - k]!);

  const x0 = x0Of(step);
  let corrected = latents;
  if (step.base !== null && !config.disable_corrector.includes(i - 1)) {
    const path = { to: levels[i]!, from: levels[i - 1]!, before: before(i - 1, orderAt(i - 1, step.step - 1) - 1) };
    corrected = unipcUpdate(config, step.base, history, path, x0);
  }
  const outputs = [...history, x0].slice(-config.solver_order);
  const path = {
    to: levels[i + 1]!,
    from: levels[i]!,
    before: before(i, orderAt(i, step.step) - 1),
  };
  return { latents: unipcUpdate(config, corrected, outputs, path, null), history: outputs, base: corrected };
}

export const unipc: Algorithm = {
  scheduler: {
    className: "UniPCMultistepScheduler",
    keys: [
      ...BETAS,
      ...SOLVER,
      "use_dynamic_shifting",
      "rescale_betas_zero_snr",
      "final_sigmas_type",
      "predict_x0",
      "disable_corrector",
      "solver_p",
      "shift_terminal",
    ],
    defaults: { timestep_spacing: "linspace", solver_type: "bh2" },
  },
  order: 1,
  schedule: solverSchedule,
  next: unipcStep,
};

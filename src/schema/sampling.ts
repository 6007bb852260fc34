/** Fields of a request that change how the checkpoint's scheduler is set, and which of them go together. */
import { z } from "zod";
import { PredictionType, SCHEDULER_FACTS, SCHEDULER_FIELDS, SCHEDULERS, type SchedulerName } from "./schedulers.ts";

/** diffusers' default, for models that have a use for it. */
export const IMAGE_GUIDANCE_SCALE = 1.5;

export const samplingShape = {
  timestep_spacing: z
    .enum(["leading", "linspace", "trailing"])
    .nullable()
    .default(null)
    .describe(
      "How the timesteps are spaced (arXiv 2305.08891, table 2); Lightning, Turbo and Hyper-SD want trailing. null = as the checkpoint says.",
    ),
  prediction_type: PredictionType.nullable()
    .default(null)
    .describe("What the model predicts, where its file does not say or says it wrong. null = as the checkpoint says."),
  rescale_betas_zero_snr: z
    .boolean()
    .nullable()
    .default(null)
    .describe("Whether the last timestep is noise alone (arXiv 2305.08891). null = as the checkpoint says.")
    .meta({ examples: [true] }),
  guidance_rescale: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe(
      "How far the guided prediction is brought back to the deviation of the prompt's own (arXiv 2305.08891, 3.4).",
    )
    .meta({ examples: [0.7] }),
  image_guidance_scale: z
    .number()
    .min(1)
    .max(100)
    .nullable()
    .default(null)
    .describe(
      `How strongly a model with instruct_pix2pix keeps to the image (s_I of arXiv 2211.09800, equation 3), where guidance_scale is more than 1. null = ${IMAGE_GUIDANCE_SCALE} for such a model; others have no use for it.`,
    )
    .meta({ examples: [IMAGE_GUIDANCE_SCALE] }),
  eta: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe("Fresh noise in each step of ddim and tcd: 0 = none, 1 = as much as there is.")
    .meta({ examples: [0] }),
};

export type Sampling = z.infer<z.ZodObject<typeof samplingShape>>;

/** A field that cannot be had beside the others, and why. */
export interface Conflict {
  readonly path: keyof typeof samplingShape;
  readonly message: string;
}

/** The first of the fields that cannot be carried out with this scheduler for a model that predicts `predicts`. */
export function samplingConflict(
  scheduler: SchedulerName,
  request: Sampling & { guidance_scale: number },
  predicts: PredictionType,
): Conflict | null {
  const { fields, prediction_types, divides_by_signal } = SCHEDULER_FACTS[scheduler];
  const said = { ...request, eta: request.eta > 0 ? request.eta : null };
  const idle = SCHEDULER_FIELDS.find((field) => said[field] !== null && !fields.includes(field));
  if (idle !== undefined) {
    const others = SCHEDULERS.filter((name) => SCHEDULER_FACTS[name].fields.includes(idle));
    return { path: idle, message: `${scheduler} has no use for it; those that have: ${others.join(", ")}` };
  }
  const prediction = request.prediction_type ?? predicts;
  if (!prediction_types.includes(prediction)) {
    const message = `${scheduler} takes ${prediction_types.join(" or ")}, not ${prediction}`;
    return { path: "prediction_type", message };
  }
  if (request.rescale_betas_zero_snr === true && divides_by_signal && prediction === "epsilon") {
    const message = `with ${scheduler} a model must predict v_prediction or sample: out of noise alone, epsilon says nothing`;
    return { path: "rescale_betas_zero_snr", message };
  }
  if (request.guidance_rescale > 0 && request.guidance_scale <= 1) {
    return { path: "guidance_rescale", message: "rescales guidance: guidance_scale must be more than 1" };
  }
  return null;
}

/** What a single file says of what its U-Net predicts: above the family's default, which is a guess. */
import { existsSync, readFileSync } from "node:fs";

/** Keys of scheduler_config.json. */
export interface Said {
  readonly prediction_type?: "epsilon" | "v_prediction";
  readonly rescale_betas_zero_snr?: true;
}

/** The values of modelspec.prediction_type (Stability-AI/ModelSpec), which kohya's scripts and others write. */
const MODELSPEC = { epsilon: "epsilon", v: "v_prediction", v_prediction: "v_prediction" } as const;

/** What AUTOMATIC1111's .yaml of the same name says beside the file: `parameterization: "v"`, or nothing, which is epsilon. */
function saidBeside(file: string): Said {
  const yaml = file.replace(/\.safetensors$/i, ".yaml");
  const text = yaml !== file && existsSync(yaml) ? readFileSync(yaml, "utf8") : "";
  if (!/^\s+unet_config:/m.test(text)) {
    return {}; // not a model's
  }
  const [, parameterization] = /^\s+parameterization:\s*["']?(\w+)/m.exec(text) ?? [];
  return { prediction_type: parameterization === "v" ? "v_prediction" : "epsilon" };
}

/** The most certain first: empty tensors `v_pred` and `ztsnr`, as NoobAI marks its files; the header's metadata; the file beside it. */
export function saidOfPrediction(
  file: string,
  tensors: { has(name: string): boolean },
  metadata: Readonly<Record<string, string>>,
): Said {
  const spec = metadata["modelspec.prediction_type"] ?? "";
  return {
    ...saidBeside(file),
    ...(spec in MODELSPEC && { prediction_type: MODELSPEC[spec as keyof typeof MODELSPEC] }),
    ...(tensors.has("v_pred") && { prediction_type: "v_prediction" }),
    ...(tensors.has("ztsnr") && { rescale_betas_zero_snr: true }),
  };
}

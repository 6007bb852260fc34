/** CompVis/stable-diffusion-safety-checker: CLIP's vision tower, and the concepts that a picture must not be near. */
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { reshape } from "../onnx/operators.ts";
import { type Checkpoint, findCheckpoint, readJson } from "./checkpoint.ts";
import { clipVision } from "./clip-vision.ts";
import { type ClipVisionConfig, clipVisionConfig, parseConfig, UnsupportedError } from "./config.ts";
import { type Network, storedNetwork } from "./network.ts";
import { requireRead } from "./unread.ts";

export interface SafetyChecker {
  readonly config: ClipVisionConfig;
  /**
   * pixel_values [N, 3, S, S] → image_embeds [N, P]; concepts [C, P] and special [K, P], the embeddings that it is compared with,
   * and concept_thresholds [C] and special_thresholds [K].
   */
  readonly network: Network;
}

/** A checkpoint's folder of it, and, in MODELS_DIR, the folder of one for the models that bring none. */
export const SAFETY_CHECKER = "safety_checker";

/** How CLIP's pictures are prepared (src/image/clip-pixels.ts): what a preprocessor_config.json may say. */
const PREPARED = {
  ...{ do_resize: true, do_center_crop: true, do_rescale: true, do_normalize: true, do_convert_rgb: true },
  resample: 3,
  rescale_factor: 1 / 255,
  image_mean: [0.48145466, 0.4578275, 0.40821073],
  image_std: [0.26862954, 0.26130258, 0.27577711],
};

/** @throws UnsupportedError when pictures are to be prepared in another way than CLIP's */
function requirePrepared(file: string, side: number): void {
  if (!existsSync(file)) return;
  const said = readJson(file) as Record<string, unknown>;
  const name = "preprocessor_config.json";
  for (const [key, needed] of Object.entries(PREPARED)) {
    const value = said[key];
    if (value === undefined || value === null || JSON.stringify(value) === JSON.stringify(needed)) continue;
    throw new UnsupportedError(`${name}: "${key}" must be ${JSON.stringify(needed)}, not ${JSON.stringify(value)}`);
  }
  const sizes = [said.size, said.crop_size].flatMap((size) =>
    typeof size === "object" && size !== null ? Object.values(size) : (size ?? []),
  );
  const other = sizes.find((size) => size !== side);
  if (other !== undefined) {
    throw new UnsupportedError(`${name}: pictures of ${JSON.stringify(other)} pixels for a network that takes ${side}`);
  }
}

/** The vision tower's part of CLIP's config; `vision_config_dict` of older files stands for the whole of it, as in transformers. */
function visionConfig(json: Record<string, unknown>): ClipVisionConfig {
  const { vision_config, vision_config_dict, projection_dim = 512 } = json;
  const own = (vision_config_dict ?? vision_config ?? {}) as Record<string, unknown>;
  return parseConfig(clipVisionConfig, { ...own, projection_dim }, `${SAFETY_CHECKER}/config.json`);
}

function shapeOf({ tensors }: Checkpoint, name: string, projected: number): readonly [number, number] {
  const shape = tensors.get(name)?.shape ?? [];
  if (shape.length === 2 && shape[0]! > 0 && shape[1] === projected) return [shape[0]!, projected];
  const found = tensors.has(name) ? `has the shape [${shape.join(", ")}]` : "is missing";
  throw new UnsupportedError(`"${name}" ${found}: [concepts, ${projected}] is needed`);
}

/**
 * @param beside a folder with a preprocessor_config.json, where the checker's own has none
 * @throws CheckpointError, ShapeError, UnsupportedError
 */
export function openSafetyChecker(folder: string, beside: string = folder): SafetyChecker {
  const json = readJson(join(folder, "config.json")) as Record<string, unknown>;
  const { architectures } = json;
  if (Array.isArray(architectures) && !architectures.includes("StableDiffusionSafetyChecker")) {
    throw new UnsupportedError(`${basename(folder)}: ${architectures.join(", ")} is no StableDiffusionSafetyChecker`);
  }
  const config = visionConfig(json);
  const preprocessor = [folder, beside].map((one) => join(one, "preprocessor_config.json")).find(existsSync);
  if (preprocessor !== undefined) requirePrepared(preprocessor, config.image_size);
  const checkpoint = findCheckpoint(folder, "model");
  const concepts = shapeOf(checkpoint, "concept_embeds", config.projection_dim);
  const special = shapeOf(checkpoint, "special_care_embeds", config.projection_dim);
  const network = storedNetwork(checkpoint, (w) => {
    const { inputs, outputs } = clipVision(w, config);
    const kept = (name: string, shape: readonly number[]) => reshape(w.get(name, shape), shape);
    return {
      inputs,
      outputs: {
        image_embeds: outputs.image_embeds!,
        concepts: kept("concept_embeds", concepts),
        special: kept("special_care_embeds", special),
        concept_thresholds: kept("concept_embeds_weights", [concepts[0]]),
        special_thresholds: kept("special_care_embeds_weights", [special[0]]),
      },
    };
  });
  requireRead(checkpoint.tensors.keys(), [network], "safety_checker");
  return { config, network };
}

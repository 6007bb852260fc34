/** What a folder without a model_index.json is, so that the refusal can name it. */
import { existsSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { readJson } from "./checkpoint.ts";
import { UnsupportedError } from "./config.ts";
import { naming } from "./recognize-class.ts";

/** By a file's name in the folder, or one level below. */
const BY_FILE: readonly (readonly [RegExp, string])[] = [
  [/^modular_model_index\.json$/, "a modular pipeline of diffusers"],
  [
    /^pytorch_lora_weights\.safetensors$|^adapter_(config\.json|model\.safetensors)$/,
    "a LoRA, which belongs into loras",
  ],
  [/^learned_embeds\.(safetensors|bin)$/, "a textual inversion, which belongs into embeddings"],
  [/^openvino_model\.xml$/, "an export to OpenVINO"],
  [/\.onnx$/, "an export to ONNX"],
  [/_flax_model\.msgpack$|^flax_model\.msgpack$/, "weights for Flax"],
  [/\.ml(modelc|package)$/, "an export to Core ML"],
  [/\.(plan|engine|trt)$/, "an export to TensorRT"],
  [/\.gguf$/i, "weights quantized as GGUF"],
];

const inside = (folder: string) =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) => [
    entry.name,
    ...(entry.isDirectory() ? readdirSync(join(folder, entry.name)) : []),
  ]);

/** Of a folder with a config.json: its class, or what transformers calls it. */
function byConfig(folder: string): string | null {
  if (!existsSync(join(folder, "config.json"))) return null;
  const { _class_name: name, architectures } = readJson(join(folder, "config.json")) as Record<string, unknown>;
  const [own] = Array.isArray(architectures) ? architectures : [name];
  return typeof own === "string" ? naming(own) : null;
}

/** @throws UnsupportedError for a folder without a model_index.json */
export function requireIndex(folder: string): void {
  if (existsSync(join(folder, "model_index.json"))) return;
  const names = inside(folder);
  const what = byConfig(folder) ?? BY_FILE.find(([pattern]) => names.some((name) => pattern.test(name)))?.[1];
  const parts = ["unet", "vae", "text_encoder"].filter((part) => existsSync(join(folder, part)));
  const found =
    what !== undefined
      ? `it is ${what}`
      : parts.length > 0
        ? `it has ${parts.join(", ")} alone`
        : names.length === 0
          ? "it is empty"
          : null;
  throw new UnsupportedError(
    `${basename(folder)}/model_index.json is missing${found === null ? "" : `: ${found}, not a base model in the diffusers layout`}`,
  );
}

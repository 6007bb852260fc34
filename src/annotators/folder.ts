import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { readJson } from "../models/checkpoint.ts";
import { openBuilt, weightFiles } from "./built.ts";
import { type AnnotatorNetworkKind, type Kind, kinds } from "./kinds.ts";
import { NetworkError } from "./network.ts";
import { openOnnx, type StoredNetwork } from "./onnx-file.ts";
import { type ProcessorConfig, parseProcessor } from "./processor.ts";
import type { Palette } from "./segmentation.ts";

/** A folder of MODELS_DIR/annotators, opened by its headers but not loaded. */
export interface AnnotatorFolder {
  readonly kind: AnnotatorNetworkKind;
  /** By their part in the annotator: `model`, or DWPose's `detector` and `pose`. */
  readonly networks: Readonly<Record<string, StoredNetwork>>;
  /** How a picture is made ready; null for kinds that have a way of their own. */
  readonly processor: ProcessorConfig | null;
  /** Of a segmentation network: `palette` of its config.json, a color for each class; null = ADE20K's. */
  readonly palette: Palette | null;
  /** Of a depth network: whether it gives distances, large where it is far. */
  readonly isDistance: boolean;
}

const entries = Object.entries(kinds) as [AnnotatorNetworkKind, Kind][];

/** Image processors of transformers whose arithmetic is that of processor.ts; "FeatureExtractor" is their older name. */
const PROCESSORS = /^(DPT|Segformer|VitPose|DepthPro|Bit|ViT)(ImageProcessor(Fast|Pil)?|FeatureExtractor)$/;

/**
 * Opens a folder: its config.json says what it is, or the name of a file, or its own name.
 * @throws NetworkError when it is not recognised or its networks are not what they should be, OnnxError and CheckpointError when a file
 * is bad, UnsupportedError when a config asks for what is not done here
 */
export function openAnnotatorFolder(dir: string): AnnotatorFolder {
  const config = existsSync(join(dir, "config.json")) ? (readJson(join(dir, "config.json")) as Config) : null;
  const [name, kind] = recognise(dir, config);
  const palette = paletteOf(config);
  const networks = Object.fromEntries(Object.keys(kind.files).map((part) => [part, openPart(dir, kind, part)]));
  for (const [part, net] of Object.entries(networks)) {
    const reason = inputMisfit(net, kind.channels) ?? kind.misfit(net, part, palette?.length);
    if (reason !== null) throw new NetworkError(`${basename(dir)} is no network of the kind ${name}: ${reason}`);
  }
  const isDistance = isMetric(config, networks.model);
  return {
    kind: name,
    networks,
    palette,
    isDistance,
    processor: kind.configs === undefined ? null : openProcessor(dir),
  };
}

interface Config {
  readonly model_type?: unknown;
  readonly architectures?: unknown;
  readonly depth_estimation_type?: unknown;
  /** This project's own: transformers' configs say nothing of colors. */
  readonly palette?: unknown;
}

function recognise(dir: string, config: Config | null): [AnnotatorNetworkKind, Kind] {
  const folder = basename(dir);
  const found =
    (config && entries.find(([, kind]) => isConfigOf(config, kind))) ??
    entries.find(([, kind]) => Object.keys(kind.files).every((part) => ownFile(dir, kind, part) !== undefined)) ??
    entries.find(([, { folders }]) => folders.includes(folder));
  if (found !== undefined) return found;
  const type =
    config === null ? "" : ` (its config.json says ${JSON.stringify(config.architectures ?? config.model_type)})`;
  const known = entries.flatMap(([, { folders }]) => folders).join(", ");
  throw new NetworkError(`"${folder}" is not recognised${type}; folders without a config are called ${known}`);
}

function isConfigOf({ model_type: type, architectures }: Config, { configs }: Kind): boolean {
  if (!configs?.types.includes(type as string)) return false;
  const [architecture] = Array.isArray(architectures) ? architectures : [];
  return typeof architecture !== "string" || architecture.endsWith(configs.architecture);
}

const isGeneral = (file: string) => /^(onnx\/)?model(_fp16)?\.onnx$/.test(file);

/** A file that no other kind has: one of the part's own name, or published weights. */
function ownFile(dir: string, { files, weights }: Kind, part: string): string | undefined {
  const names = [...files[part]!.filter((file) => !isGeneral(file)), ...(weights ? weightFiles(weights.stem) : [])];
  return names.find((file) => existsSync(join(dir, file)));
}

function openPart(dir: string, { files, weights, published }: Kind, part: string): StoredNetwork {
  const file = files[part]!.find((one) => existsSync(join(dir, one)));
  if (file !== undefined) return openOnnx(join(dir, file));
  const names = weights === undefined ? [] : weightFiles(weights.stem);
  const stored = names.find((one) => existsSync(join(dir, one)));
  if (stored !== undefined) return openBuilt(join(dir, stored), weights!.network);
  throw new NetworkError(
    `${basename(dir)}: ${[...files[part]!, ...names].join(" or ")} is missing. Published: ${published}`,
  );
}

function inputMisfit({ inputs }: StoredNetwork, channels: number): string | null {
  const [input, ...others] = inputs;
  if (input === undefined || others.length > 0) return `it has ${inputs.length} inputs, not one`;
  if (input.dtype !== "float32") return `its input "${input.name}" is of ${input.dtype}, not of float32`;
  const { shape } = input;
  const isPicture = shape.length === 4 || shape.length === 5; // Depth Anything 3: [1, views, 3, H, W]
  return isPicture && (typeof shape.at(-3) === "string" || shape.at(-3) === channels)
    ? null
    : `its input "${input.name}" is [${shape.join(", ")}], not [1, ${channels}, H, W]`;
}

/** @throws NetworkError when it is no list of colors */
function paletteOf(config: Config | null): Palette | null {
  const palette = config?.palette ?? null;
  const isLevel = (value: unknown) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 255;
  const isColor = (color: unknown) => Array.isArray(color) && color.length === 3 && color.every(isLevel);
  if (palette === null || (Array.isArray(palette) && palette.length > 0 && palette.every(isColor))) {
    return palette as Palette | null;
  }
  throw new NetworkError(
    "config.json: palette must be a list of [red, green, blue], 0 to 255 each, one for each class",
  );
}

/** Depth Anything 3 and the metric ones give distances, the others inverse depth. */
function isMetric(config: Config | null, model: StoredNetwork | undefined): boolean {
  const type = config?.model_type;
  return (
    type === "metric3d" ||
    type === "depth_pro" ||
    config?.depth_estimation_type === "metric" ||
    model?.inputs[0]?.shape.length === 5
  );
}

function openProcessor(dir: string): ProcessorConfig {
  const json = readJson(join(dir, "preprocessor_config.json")) as Record<string, unknown>;
  const type = json.image_processor_type ?? json.feature_extractor_type;
  if (type !== undefined && !PROCESSORS.test(String(type))) {
    throw new NetworkError(
      `preprocessor_config.json: "${type}" is not one of DPT's, SegFormer's or ViTPose's processors`,
    );
  }
  return parseProcessor(json);
}

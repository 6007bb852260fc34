/**
 * What MODELS_DIR can hold, one row a shelf: how a folder and how a file of it is opened (headers only), and what the catalog says
 * of it. The library, the engine's look-up and the gateway's `GET /v1/<shelf>` iterate the shelves.
 */
import { allowedSchedulers, defaultScheduler } from "../../src/diffusion/own-scheduler.ts";
import { schedulerConfig } from "../../src/diffusion/scheduler-table.ts";
import { maxClipSkip } from "../../src/diffusion/text.ts";
import { readTokenizer } from "../../src/diffusion/tokenizer.ts";
import { openBase } from "../../src/models/base.ts";
import { skipChannels } from "../../src/models/encoder.ts";
import { attentionBlocks } from "../../src/models/levels.ts";
import type { BaseModel } from "../../src/models/opened.ts";
import { maxBranch } from "../../src/models/shallow.ts";
import {
  openShelvedFile,
  openShelvedFolder,
  type ShelvedControlNet,
  shelvedMisfit,
} from "../../src/models/shelved-controlnet.ts";
import { openSingleFile } from "../../src/models/single-file.ts";
import { shownBeside } from "../../src/models/unet-inputs.ts";
import { CELL } from "../../src/models/vae.ts";
import type { Catalog, ShelfName } from "../../src/schema/catalog.ts";
import { CONTROL_TYPES } from "../../src/schema/control-type.ts";
import { resolutionMultiple, untrainable } from "../train/components.ts";
import { adapters, embeddings, ip_adapters, loras } from "./adapter-shelves.ts";
import type { Shelf, Surroundings } from "./shelf.ts";

/** diffusers' size when a U-Net's config has no sample_size. */
const DEFAULT_SAMPLE_SIZE = 64;

export function family({ unet }: BaseModel): "sd1" | "sd2" | "sdxl" {
  return unet.addition_embed_type === "text_time" ? "sdxl" : unet.use_linear_projection ? "sd2" : "sd1";
}

/** A base model whose tokenizers can be read. */
function openWhole(folder: string): BaseModel {
  const base = openBase(folder);
  const beyond = base.text.flatMap(({ config, tokenizerFolder }) =>
    readTokenizer(tokenizerFolder).added.filter(({ id }) => id >= config.vocab_size),
  );
  const warnings = beyond.map(
    ({ content, id }) => `the added token ${content} is ${id}, which the text encoder does not have`,
  );
  return { ...base, warnings: [...base.warnings, ...warnings] };
}

function describeModel(
  id: string,
  model: BaseModel,
  { forTraining, safety_checker }: Surroundings,
): Catalog["models"][number] {
  const config = model.scheduler as Record<string, unknown>;
  const { scheduler, warnings } = defaultScheduler(config);
  const schedulers = allowedSchedulers(config);
  const { sample_size: size } = model.unet;
  const [height, width] = Array.isArray(size) ? size : [size ?? DEFAULT_SAMPLE_SIZE, size ?? DEFAULT_SAMPLE_SIZE];
  const shown = shownBeside(model);
  return {
    id,
    object: "model",
    created: 0,
    owned_by: "local",
    family: family(model),
    width: width! * CELL,
    height: height! * CELL,
    scheduler,
    schedulers,
    prediction_type: schedulerConfig(scheduler, config).prediction_type,
    residuals: skipChannels(model.unet).length + 1,
    max_clip_skip: maxClipSkip(model),
    attention_blocks: attentionBlocks(model.unet),
    inpainting: shown === "masked image",
    instruct_pix2pix: shown === "image",
    max_branch: maxBranch(model.unet),
    tiny_decoder: model.networks.tiny_decoder !== null,
    safety_checker: (model.safety_checker ?? safety_checker) === null ? "none" : "off",
    precision: "float32", // the engine says what it is
    trainable: forTraining && untrainable(model) === null,
    resolution_multiple: resolutionMultiple(model.unet),
    warnings: [...model.warnings, ...(model.assumed === null ? [] : [model.assumed]), ...warnings],
  };
}

function describeControlNet(
  id: string,
  controlnet: ShelvedControlNet,
  { models }: Surroundings,
): Catalog["controlnets"][number] {
  const { residuals, global_pool_conditions, union, warnings } = controlnet;
  const reasons = [...models].map(([model, base]) => [model, shelvedMisfit(base, controlnet)] as const);
  const fitting = reasons.flatMap(([model, reason]) => (reason === null ? [model] : []));
  const misfits = reasons.flatMap(([model, reason]) => (reason === null ? [] : [[model, reason] as const]));
  return {
    id,
    object: "controlnet",
    models: fitting,
    misfits: Object.fromEntries(misfits),
    residuals,
    global_pool_conditions,
    control_types: Array.from({ length: union?.types ?? 0 }, (_, type) => [...(CONTROL_TYPES[type] ?? [])]),
    warnings: [
      ...warnings,
      ...(fitting.length > 0 ? [] : misfits.map(([model, reason]) => `does not fit ${model}: ${reason}`)),
    ],
  };
}

const models: Shelf<BaseModel, Catalog["models"][number]> = {
  place: "",
  openFolder: openWhole,
  openFile: (path) => openSingleFile(path),
  describe: describeModel,
};

const controlnets: Shelf<ShelvedControlNet, Catalog["controlnets"][number]> = {
  place: "controlnets",
  openFolder: openShelvedFolder,
  openFile: openShelvedFile,
  describe: describeControlNet,
};

/** The models come first: the others' entries say which of them they fit. */
export const SHELVES = { models, controlnets, loras, embeddings, ip_adapters, adapters } satisfies {
  [Name in ShelfName]: Shelf<unknown, Catalog[Name][number]>;
};

/** What a shelf's things are, opened. */
export type Opened<Name extends ShelfName> = ReturnType<(typeof SHELVES)[Name]["openFile"]>;

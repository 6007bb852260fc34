/** What MODELS_DIR holds: base models and ControlNets, opened (headers only) but not loaded. */
import { type Dirent, existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { DEMO_MODELS_DIR } from "../../src/config/config.ts";
import { allowedSchedulers, defaultScheduler, schedulerConfig } from "../../src/diffusion/scheduler-config.ts";
import { maxClipSkip } from "../../src/diffusion/text.ts";
import { type BaseModel, type ControlNet, openBase, openControlNet } from "../../src/models/base.ts";
import { skipChannels } from "../../src/models/encoder.ts";
import { misfit } from "../../src/models/fit.ts";
import { openSingleFile, openSingleFileControlNet } from "../../src/models/single-file.ts";
import { CELL } from "../../src/models/vae.ts";
import type { Catalog } from "../../src/schema/catalog.ts";
import { resolutionMultiple } from "../train/components.ts";

export interface Library {
  readonly models: ReadonlyMap<string, BaseModel>;
  readonly controlnets: ReadonlyMap<string, ControlNet>;
  readonly catalog: Omit<Catalog, "execution_provider">;
}

const CONTROLNETS = "controlnets";

/** diffusers' size when a U-Net's config has no sample_size. */
const DEFAULT_SAMPLE_SIZE = 64;

function isFolder(parent: string, entry: Dirent): boolean {
  return entry.isDirectory() || (entry.isSymbolicLink() && statSync(join(parent, entry.name)).isDirectory());
}

/** Single files, and files that hold pickled Python objects and are never opened. */
const SINGLE_FILE = ".safetensors";
const PICKLE = /\.(ckpt|pt|pth|bin)$/;

/** How to open a model that is a folder, and one that is a file. */
interface Openers<T> {
  readonly folder: (path: string, id: string) => T;
  readonly file: (path: string, id: string) => T;
}

/** Opens everything in a folder, folders before files of the same id; what fails is skipped with its reason. */
function openAll<T>(dir: string, skipped: Catalog["skipped"], open: Openers<T>): Map<string, T> {
  const opened = new Map<string, T>();
  const isFile = ({ name }: Dirent) => name.endsWith(SINGLE_FILE);
  const entries = existsSync(dir) ? readdirSync(dir, { withFileTypes: true }) : [];
  for (const entry of entries.sort((a, b) => Number(isFile(a)) - Number(isFile(b)))) {
    if (entry.name === CONTROLNETS || entry.name.startsWith(".")) {
      continue;
    }
    const path = join(dir, entry.name);
    try {
      if (isFolder(dir, entry)) {
        opened.set(entry.name, open.folder(path, entry.name));
        continue;
      }
      if (!isFile(entry)) {
        throw new Error(
          PICKLE.test(entry.name)
            ? "a pickle, which can run code; only .safetensors files are loaded"
            : "neither a model folder nor a .safetensors file",
        );
      }
      const id = basename(entry.name, SINGLE_FILE);
      if (opened.has(id)) {
        throw new Error(`the folder "${id}" has the same id`);
      }
      opened.set(id, open.file(path, id));
    } catch (error) {
      skipped.push({ path, reason: (error as Error).message });
    }
  }
  return opened;
}

function family({ unet }: BaseModel): "sd1" | "sd2" | "sdxl" {
  return unet.addition_embed_type === "text_time" ? "sdxl" : unet.use_linear_projection ? "sd2" : "sd1";
}

/** @param forTraining whether it is in the diffusers layout, as training reads no single files, and there is room for what comes of it */
function describe(id: string, model: BaseModel, forTraining: boolean): Catalog["models"][number] {
  const config = model.scheduler as Record<string, unknown>;
  const { scheduler, warnings } = defaultScheduler(config);
  const { sample_size: size } = model.unet;
  const [height, width] = Array.isArray(size) ? size : [size ?? DEFAULT_SAMPLE_SIZE, size ?? DEFAULT_SAMPLE_SIZE];
  const inpainting = model.unet.in_channels !== model.vae.latent_channels;
  return {
    id,
    object: "model",
    family: family(model),
    width: width! * CELL,
    height: height! * CELL,
    scheduler,
    schedulers: allowedSchedulers(config),
    prediction_type: schedulerConfig(scheduler, config).prediction_type,
    residuals: skipChannels(model.unet).length + 1,
    max_clip_skip: maxClipSkip(model),
    inpainting,
    trainable: forTraining && !inpainting && model.text.length === 1,
    resolution_multiple: resolutionMultiple(model.unet),
    warnings: [...model.warnings, ...warnings],
  };
}

/** Never throws for what a folder holds: what cannot be served is in `catalog.skipped`, with the reason. */
export function openLibrary(dir: string): Library {
  const skipped: Catalog["skipped"] = [];
  const withEntry = (model: BaseModel, id: string, folder: boolean) => ({
    model,
    entry: describe(id, model, folder && dir !== DEMO_MODELS_DIR),
  });
  const described = openAll(dir, skipped, {
    folder: (path, id) => withEntry(openBase(path), id, true),
    file: (path, id) => withEntry(openSingleFile(path), id, false),
  });
  const controlnets = openAll(join(dir, CONTROLNETS), skipped, {
    folder: (path) => openControlNet(path),
    file: (path) => openSingleFileControlNet(path),
  });
  const models = new Map([...described].map(([id, { model }]) => [id, model]));
  return {
    models,
    controlnets,
    catalog: {
      models: [...described.values()].map(({ entry }) => entry),
      controlnets: [...controlnets].map(([id, { config }]) => {
        const reasons = [...models].map(([model, { unet }]) => [model, misfit(unet, config)] as const);
        const fitting = reasons.flatMap(([model, reason]) => (reason === null ? [model] : []));
        const misfits = reasons.flatMap(([model, reason]) => (reason === null ? [] : [[model, reason] as const]));
        return {
          id,
          object: "controlnet",
          models: fitting,
          misfits: Object.fromEntries(misfits),
          residuals: skipChannels(config).length + 1,
          global_pool_conditions: config.global_pool_conditions,
          warnings: fitting.length > 0 ? [] : misfits.map(([model, reason]) => `does not fit ${model}: ${reason}`),
        };
      }),
      skipped,
    },
  };
}

import { existsSync } from "node:fs";
import { join } from "node:path";
import { repeatRow, stack } from "../../src/diffusion/rows.ts";
import { hint } from "../../src/image/hint.ts";
import { openBase } from "../../src/models/base.ts";
import { readJson } from "../../src/models/checkpoint.ts";
import { type ControlnetConfig, controlnetConfig, parseConfig } from "../../src/models/config.ts";
import { pooledSize } from "../../src/models/encoder.ts";
import type { BaseModel } from "../../src/models/opened.ts";
import { CELL } from "../../src/models/vae.ts";
import { StoredWeights } from "../../src/models/weights.ts";
import type { TrainingSettings } from "../../src/schema/training-request.ts";
import { denoisingFeeds } from "../../src/training/batch.ts";
import { readDataset } from "../../src/training/dataset.ts";
import { controlnetFrom, controlnetShapes } from "../../src/training/initialize.ts";
import { controlnetComputation, controlnetStep } from "../../src/training/loss.ts";
import { readParameters } from "../../src/training/stored.ts";
import {
  dtypeOf,
  parametersOf,
  readNoising,
  requireResolution,
  requireTrainable,
  STEM,
  writeComponent,
} from "./components.ts";
import { encodeDatasetPrompts, encodePictures, tokenize } from "./encoded.ts";
import { type MemoryNeed, memoryNeed } from "./memory.ts";
import { mirror, Pictures } from "./pictures.ts";
import { countShares } from "./step.ts";
import type { OpenSubject } from "./subject.ts";
import { readValidation, validate } from "./validation.ts";

/** The config of a ControlNet for a U-Net: what both have, and what diffusers' ControlNetModel.from_unet adds. */
export function configFor(unet: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const shared = Object.entries(unet).filter(([key]) => key in controlnetConfig.shape);
  return {
    _class_name: "ControlNetModel",
    ...Object.fromEntries(shared),
    conditioning_channels: 3,
    conditioning_embedding_out_channels: [16, 32, 96, 256],
    controlnet_conditioning_channel_order: "rgb",
    global_pool_conditions: false,
  };
}

/** Reads and checks a base and a dataset, and encodes the dataset with the base's VAE and text encoders. */
async function prepare(...[folders, settings, { onPreparing, onMemory }]: Parameters<OpenSubject>) {
  const base = openBase(folders.base);
  requireTrainable(base);
  requireResolution(settings.resolution, base.unet, base.vae);
  // A folder with a config and no weights says what is to be trained; one with weights is trained on. As a base's folders are.
  const own = join(folders.output, "config.json");
  const rawConfig = existsSync(own)
    ? readJson(own)
    : configFor(readJson(join(folders.base, "unet", "config.json")) as Record<string, unknown>);
  const config = parseConfig(controlnetConfig, rawConfig, "config.json");
  const pairs = readDataset(folders.dataset, true);
  const validation = folders.validation === null ? [] : readValidation(folders.validation);
  onMemory?.(needOf(base, config, settings, validation.length > 0));
  const pictures = new Pictures(settings.resolution);
  const cache = join(folders.work, "cache");
  const wrong: string[] = [];
  const tokens = base.text.map(({ tokenizerFolder }) => tokenize(tokenizerFolder, pairs, wrong));
  const vae = {
    graph: base.networks.vae_encoder.graph,
    folder: join(folders.base, "vae"),
    latentChannels: base.vae.latent_channels,
  };
  const moments = await encodePictures(vae, pairs, pictures, settings, cache, wrong, onPreparing);
  const prompts = await encodeDatasetPrompts(base, pairs, tokens, cache, onPreparing);
  const length = tokens[0]!.empty.length;
  return { base, own, rawConfig, config, pairs, validation, pictures, length, moments, prompts };
}

/** What training a ControlNet takes of memory. @param shows whether pictures are made meanwhile */
function needOf(base: BaseModel, config: ControlnetConfig, settings: TrainingSettings, shows: boolean): MemoryNeed {
  const shapes = controlnetShapes(config);
  const parameters = [...shapes.values()].reduce((sum, shape) => sum + shape.reduce((size, dim) => size * dim, 1), 0);
  const shares = countShares(settings.train_batch_size, parameters);
  const cells = settings.resolution / CELL;
  const size = { batch: settings.train_batch_size / shares, height: cells, width: cells };
  const locked = new StoredWeights(base.weights.tensors);
  const step = controlnetComputation(locked, base.unet, config, shapes, size, "epsilon");
  const { unet, vae_decoder } = base.networks;
  const shown = [unet, vae_decoder, ...base.text.map(({ network }) => network)];
  const own = 4 * parameters;
  const weights = shows ? shown.reduce((sum, { weightBytes }) => sum + weightBytes, own) : 0;
  return memoryNeed(step, { parameters, shares, ema_decay: settings.ema_decay }, weights);
}

/** What SDXL is told of a picture's size (diffusers' train_controlnet_sdxl.py): the square that it was scaled to cover, as a whole. */
const timeIds = (side: number) => Float32Array.of(side, side, 0, 0, side, side);

/** A ControlNet for a locked base: arXiv 2302.05543, section 3.2. */
export const openControlnetTraining: OpenSubject = async (folders, settings, preparing) => {
  const ready = await prepare(folders, settings, preparing);
  const { base, own, rawConfig, config, pairs, validation, pictures, length, moments, prompts } = ready;
  const { unet, weights } = base;
  const { alphas, prediction } = readNoising(folders.base);
  const side = settings.resolution;
  return {
    count: pairs.length,
    start() {
      const shapes = controlnetShapes(config);
      const fresh = () =>
        controlnetFrom(
          readParameters(weights, (name) => shapes.has(name)),
          config,
          settings.seed,
        );
      return existsSync(own) ? parametersOf(folders.output, "unet", fresh) : fresh();
    },
    graph(parameters, size) {
      const shapes = new Map([...parameters.tensors].map(([name, { dims }]) => [name, dims]));
      const locked = new StoredWeights(weights.tensors);
      const bytes = controlnetStep(locked, unet, config, shapes, { ...size, tokens: length }, prediction);
      return { bytes, folder: weights.folder };
    },
    async feeds(draw) {
      const hints: Float32Array[] = [];
      for (const { pair, flipped } of draw.rows) {
        const pixels = await pictures.get(pairs[pair]!.hint!);
        hints.push(hint(flipped ? mirror(pixels) : pixels));
      }
      const latentDims = [base.vae.latent_channels, side / 8, side / 8];
      const texts = draw.rows.map(({ pair, emptyPrompt }) => prompts(emptyPrompt ? null : pair));
      const hidden = texts.map((text) => text.hidden);
      const pooled = texts.map((text) => text.pooled);
      return {
        ...denoisingFeeds(draw, latentDims, ({ pair, flipped }) => moments(pair, flipped), base, alphas),
        encoder_hidden_states: stack(hidden, [length, unet.cross_attention_dim]),
        hint: stack(hints, [3, side, side]),
        ...(unet.addition_embed_type !== null && {
          text_embeds: stack(pooled, [pooledSize(unet)]),
          time_ids: repeatRow([6], timeIds(side), draw.rows.length),
        }),
      };
    },
    async *show(parameters, from, signal) {
      const missing = validation.slice(from);
      if (missing.length === 0) {
        return;
      }
      const folder = join(folders.work, "controlnet");
      writeComponent(folder, STEM.unet, rawConfig, parameters.tensors, "F32");
      yield* validate(folders.base, folder, missing, settings, signal);
    },
    async save(parameters) {
      writeComponent(folders.output, STEM.unet, rawConfig, parameters.tensors, dtypeOf(weights));
    },
  };
};

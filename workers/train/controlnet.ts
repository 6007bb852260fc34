import { existsSync } from "node:fs";
import { join } from "node:path";
import { stack } from "../../src/diffusion/rows.ts";
import { hint } from "../../src/image/hint.ts";
import { openBase } from "../../src/models/base.ts";
import { findCheckpoint, readJson } from "../../src/models/checkpoint.ts";
import { controlnetConfig, parseConfig, UnsupportedError } from "../../src/models/config.ts";
import { StoredWeights } from "../../src/models/weights.ts";
import { denoisingFeeds } from "../../src/training/batch.ts";
import { readDataset } from "../../src/training/dataset.ts";
import { controlnetFrom } from "../../src/training/initialize.ts";
import { controlnetStep } from "../../src/training/loss.ts";
import { readParameters } from "../../src/training/stored.ts";
import { dtypeOf, parametersOf, readNoising, requireResolution, STEM, writeComponent } from "./components.ts";
import { encodeDatasetPrompts, encodePictures, tokenize } from "./encoded.ts";
import { mirror, Pictures } from "./pictures.ts";
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

/** Reads and checks a base and a dataset, and encodes the dataset with the base's VAE and text encoder. */
async function prepare(...[folders, settings, onPreparing]: Parameters<OpenSubject>) {
  const base = openBase(folders.base);
  if (base.text.length !== 1) {
    throw new UnsupportedError("a ControlNet for SDXL cannot be trained here yet");
  }
  requireResolution(settings.resolution, base.unet, base.vae);
  const tower = base.text[0]!;
  // A folder with a config and no weights says what is to be trained; one with weights is trained on. As a base's folders are.
  const own = join(folders.output, "config.json");
  const rawConfig = existsSync(own)
    ? readJson(own)
    : configFor(readJson(join(folders.base, "unet", "config.json")) as Record<string, unknown>);
  const config = parseConfig(controlnetConfig, rawConfig, "config.json");
  const unet = findCheckpoint(join(folders.base, "unet"), STEM.unet);
  const pairs = readDataset(folders.dataset, true);
  const validation = folders.validation === null ? [] : readValidation(folders.validation);
  const pictures = new Pictures(settings.resolution);
  const cache = join(folders.work, "cache");
  const wrong: string[] = [];
  const tokens = tokenize(tower.tokenizerFolder, pairs, wrong);
  const vae = {
    graph: base.networks.vae_encoder.graph,
    folder: join(folders.base, "vae"),
    latentChannels: base.vae.latent_channels,
  };
  const moments = await encodePictures(vae, pairs, pictures, settings, cache, wrong, onPreparing);
  const text = {
    graph: tower.network.graph,
    folder: join(folders.base, "text_encoder"),
    layers: tower.config.num_hidden_layers,
    width: tower.config.hidden_size,
  };
  const prompts = await encodeDatasetPrompts(text, tokens, cache, onPreparing);

  return {
    base,
    textWidth: tower.config.hidden_size,
    own,
    rawConfig,
    config,
    unet,
    pairs,
    validation,
    pictures,
    tokens,
    moments,
    prompts,
  };
}

/** A ControlNet for a locked base: arXiv 2302.05543, section 3.2. */
export const openControlnetTraining: OpenSubject = async (folders, settings, onPreparing) => {
  const ready = await prepare(folders, settings, onPreparing);
  const { base, textWidth, own, rawConfig, config, unet, pairs, validation, pictures, tokens, moments, prompts } =
    ready;
  const { alphas, prediction } = readNoising(folders.base);
  const side = settings.resolution;
  return {
    count: pairs.length,
    start() {
      const fresh = () => controlnetFrom(readParameters(unet), config, settings.seed);
      return existsSync(own) ? parametersOf(folders.output, "unet", fresh) : fresh();
    },
    graph(parameters, size) {
      const shapes = new Map([...parameters.tensors].map(([name, { dims }]) => [name, dims]));
      const locked = new StoredWeights(unet.tensors);
      return { bytes: controlnetStep(locked, base.unet, config, shapes, size, prediction), folder: unet.folder };
    },
    async feeds(draw) {
      const hints: Float32Array[] = [];
      for (const { pair, flipped } of draw.rows) {
        const pixels = await pictures.get(pairs[pair]!.hint!);
        hints.push(hint(flipped ? mirror(pixels) : pixels));
      }
      const latentDims = [base.vae.latent_channels, side / 8, side / 8];
      const texts = draw.rows.map(({ pair, emptyPrompt }) => prompts(emptyPrompt ? null : pair));
      return {
        ...denoisingFeeds(
          draw,
          latentDims,
          ({ pair, flipped }) => moments(pair, flipped),
          base.vae.scaling_factor,
          alphas,
        ),
        encoder_hidden_states: stack(texts, [tokens.empty.length, textWidth]),
        hint: stack(hints, [3, side, side]),
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
      writeComponent(folders.output, STEM.unet, rawConfig, parameters.tensors, dtypeOf(unet));
    },
  };
};

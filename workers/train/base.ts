import { join } from "node:path";
import { findCheckpoint, readJson } from "../../src/models/checkpoint.ts";
import { storedNetwork } from "../../src/models/network.ts";
import { vaeEncoder } from "../../src/models/vae.ts";
import { denoisingFeeds } from "../../src/training/batch.ts";
import { readDataset } from "../../src/training/dataset.ts";
import { clipShapes, initialize, unetShapes } from "../../src/training/initialize.ts";
import { baseStep } from "../../src/training/loss.ts";
import { type Block, block } from "../../src/training/parameters.ts";
import {
  parametersOf,
  readClip,
  readNoising,
  readUnet,
  readVae,
  requireResolution,
  STEM,
  writeComponent,
} from "./components.ts";
import { encodePictures, tokenize } from "./encoded.ts";
import { Pictures } from "./pictures.ts";
import type { OpenSubject } from "./subject.ts";

/** Networks side by side, each parameter by its network's name and its own. */
export function joinBlocks(parts: Readonly<Record<string, Block>>): Block {
  const all = Object.entries(parts).flatMap(([part, { tensors }]) =>
    [...tensors].map(([name, tensor]) => [`${part}.${name}`, tensor] as const),
  );
  const joined = block(new Map(all.map(([name, { dims }]) => [name, dims])));
  for (const [name, { data }] of all) {
    joined.tensors.get(name)!.data.set(data);
  }
  return joined;
}

/** The parameters of one network, by their own names. */
function part({ tensors }: Block, network: string): Block["tensors"] {
  const prefix = `${network}.`;
  return new Map(
    [...tensors].flatMap(([name, tensor]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : [])),
  );
}

/** U-Net and text encoder together, for a VAE that stays as it is. */
export const openBaseTraining: OpenSubject = async (folders, settings, { onPreparing }) => {
  const [unet, clip, vae] = [readUnet(folders.base), readClip(folders.base), readVae(folders.base)];
  requireResolution(settings.resolution, unet, vae);
  const { alphas, prediction } = readNoising(folders.base);
  const pairs = readDataset(folders.dataset, false);
  const wrong: string[] = [];
  const tokens = tokenize(join(folders.base, "tokenizer"), pairs, wrong);
  const vaeFolder = join(folders.base, "vae");
  const stored = findCheckpoint(vaeFolder, STEM.vae);
  const encoder = {
    graph: storedNetwork(stored, (w) => vaeEncoder(w, vae)).graph,
    folder: vaeFolder,
    latentChannels: vae.latent_channels,
  };
  const pictures = new Pictures(settings.resolution);
  const moments = await encodePictures(
    encoder,
    pairs,
    pictures,
    settings,
    join(folders.work, "cache"),
    wrong,
    onPreparing,
  );
  const cells = settings.resolution / 8;
  return {
    count: pairs.length,
    start: () =>
      joinBlocks({
        unet: parametersOf(join(folders.base, "unet"), "unet", () => initialize(unetShapes(unet), settings.seed)),
        text_encoder: parametersOf(join(folders.base, "text_encoder"), "text_encoder", () =>
          initialize(clipShapes(clip), settings.seed + 1),
        ),
      }),
    graph(parameters, size) {
      const shapes = new Map([...parameters.tensors].map(([name, { dims }]) => [name, dims]));
      return { bytes: baseStep(unet, clip, shapes, size, prediction), folder: folders.base };
    },
    async feeds(draw) {
      const ids = draw.rows.flatMap(({ pair, emptyPrompt }) => (emptyPrompt ? tokens.empty : tokens.ids[pair]!));
      return {
        ...denoisingFeeds(
          draw,
          [vae.latent_channels, cells, cells],
          ({ pair, flipped }) => moments(pair, flipped),
          { vae, text: [clip] },
          alphas,
        ),
        input_ids: { dims: [draw.rows.length, tokens.empty.length], data: BigInt64Array.from(ids, BigInt) },
      };
    },
    async save(parameters) {
      for (const name of ["unet", "text_encoder"] as const) {
        const config = readJson(join(folders.base, name, "config.json"));
        writeComponent(join(folders.output, name), STEM[name], config, part(parameters, name), "F16");
      }
    },
  };
};

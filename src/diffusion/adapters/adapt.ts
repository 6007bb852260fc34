/** A model with what a request adds to it: LoRA and textual inversions in all its networks, IP-Adapters in its U-Net. */
import { WORDS } from "../../models/clip.ts";
import type { Component } from "../../models/lora/keys.ts";
import type { Network } from "../../models/network.ts";
import type { BaseModel } from "../../models/opened.ts";
import { deepOutput } from "../../models/shallow.ts";
import { type Join, networksOf, type Once, type Runner } from "../load.ts";
import type { LoadedModel, LoadedTower } from "../model.ts";
import { type ChosenEmbedding, readWords, runWithWords, type Word, withWords } from "./embeddings.ts";
import { addIpAdapters, type ChosenIpAdapter } from "./ip-adapters.ts";
import { type AddedTo, type Additions, addLoras, type ChosenLora, runWith } from "./loras.ts";
import type { ChosenT2iAdapter } from "./t2i-adapters.ts";

/** What a request names of each shelf of adapters, ready to be used. */
export interface Chosen {
  readonly loras: readonly ChosenLora[];
  readonly embeddings: readonly ChosenEmbedding[];
  readonly ip_adapters: readonly ChosenIpAdapter[];
  readonly adapters: readonly ChosenT2iAdapter[];
}

export const NOTHING: Chosen = { loras: [], embeddings: [], ip_adapters: [], adapters: [] };

/** How networks are run. */
export interface Runners {
  /** Keeps them in memory. */
  readonly runner: Runner;
  /** Keeps what they have made too. */
  readonly remembering: Runner;
  readonly once: Once;
  readonly join: Join;
  /** Bytes of weights that may be in memory, as float32. */
  readonly budget: number;
}

const COMPONENTS: readonly Component[] = ["text_encoder", "text_encoder_2"];

function towerWith(
  model: BaseModel,
  tower: LoadedTower,
  t: number,
  added: AddedTo,
  words: readonly Word[],
  runner: Runner,
): LoadedTower {
  const first = tower.config.vocab_size;
  const own = added[COMPONENTS[t]!];
  const additions: Additions =
    words.length === 0 ? own : { ...own, grafts: [...own.grafts, { kind: "rows", at: WORDS }] };
  if (additions.grafts.length === 0) return tower;
  const run = runWith(model.text[t]!.network, additions, runner);
  return words.length === 0
    ? { ...tower, run }
    : { ...tower, run: runWithWords(run, words, t, first), tokenizer: withWords(tower.tokenizer, words, first) };
}

type UnetRuns = Pick<LoadedModel["run"], "unet" | "split" | "joint">;

/** The U-Net, and the forms of it that are split at a branch or joined with ControlNets, with the same additions. */
function unetWith(base: BaseModel, added: Additions, runner: Runner, join: Join): UnetRuns {
  const { unet, shallow } = base.networks;
  return {
    unet: runWith(unet, added, runner),
    joint(controlnets) {
      const one = join(unet, networksOf(controlnets));
      return one && runWith(one, added, runner);
    },
    split(branch) {
      const deep = deepOutput(base.unet, branch);
      const outer = shallow(branch);
      return {
        whole: runWith(unet, { ...added, grafts: [...added.grafts, deep] }, runner),
        shallow: runWith(outer, within(added, outer), runner),
      };
    },
  };
}

/** Those of a U-Net's additions whose layers an outer part of it has too. */
function within({ grafts, feeds }: Additions, { reads }: Network): Additions {
  const places = grafts.filter(({ at }) => [...reads].some((name) => name.startsWith(`${at}.`)));
  const named = new Set(places.map(({ at }) => at));
  const own = Object.entries(feeds).filter(([name]) => named.has(name.slice(0, name.indexOf(":"))));
  return { grafts: places, feeds: Object.fromEntries(own) };
}

/** What LoRA and IP-Adapters add to the U-Net is known only with the request's size and the rows that its guidance takes. */
export type Adapted = LoadedModel & {
  /** Of adapters that change nothing. */
  readonly warnings: readonly string[];
  /** What an error calls the U-Net. */
  readonly unetName: string;
  readonly unetFor: (rows: number, cells: readonly [number, number]) => Promise<UnetRuns>;
  /** Frees what LoRA add, once nothing runs any more: left to the collector, those of several requests lie in memory. */
  readonly free: () => void;
};

/** The U-Net, with what a request adds to it. */
function nameOf({ loras, ip_adapters, adapters }: Chosen): string {
  const named = (what: string, all: readonly { readonly id: string }[]) => all.map(({ id }) => `${what} "${id}"`);
  const added = [
    ...named(
      "LoRA",
      loras.filter(({ scale }) => scale !== 0),
    ),
    ...named("IP-Adapter", ip_adapters),
    ...named("T2I-Adapter", adapters),
  ];
  return added.length === 0 ? "the U-Net" : `the U-Net with the ${added.join(", ")}`;
}

/**
 * @param base what `loaded` was loaded from
 * @throws CheckpointError that names what an adapter's file has wrong, Error for scales of blocks that are not there
 */
export async function adapt(
  base: BaseModel,
  loaded: LoadedModel,
  chosen: Chosen,
  { runner, remembering, once, join, budget }: Runners,
): Promise<Adapted> {
  const added = await addLoras(base, chosen.loras, once, budget);
  const words = await readWords(chosen.embeddings, once);
  return {
    ...loaded,
    warnings: added.warnings,
    unetName: nameOf(chosen),
    free() {
      for (const { feeds } of [added.unet, added.text_encoder, added.text_encoder_2]) {
        for (const { data } of Object.values(feeds)) (data.buffer as ArrayBuffer).transfer(0);
      }
    },
    text: loaded.text.map((tower, t) => towerWith(base, tower, t, added, words, remembering)),
    async unetFor(rows, cells) {
      const images = await addIpAdapters(base, chosen.ip_adapters, rows, cells);
      const all = {
        grafts: [...added.unet.grafts, ...images.grafts],
        feeds: { ...added.unet.feeds, ...images.feeds },
      };
      return all.grafts.length === 0 ? loaded.run : unetWith(base, all, runner, join);
    },
  };
}

import type { BaseModel, ControlNet, Network } from "../models/base.ts";
import type { LoadedControlNet, LoadedModel, Run } from "./model.ts";
import { loadTokenizer } from "./tokenizer.ts";

/** Makes a network runnable; it may load it at the first run. */
export type Runner = (network: Network) => Run;

function runners<Names extends string>(networks: Readonly<Record<Names, Network>>, runner: Runner): Record<Names, Run> {
  const entries = Object.entries<Network>(networks).map(([name, network]) => [name, runner(network)]);
  return Object.fromEntries(entries) as Record<Names, Run>;
}

/** A checkpoint's base model, with its tokenizers read (which takes some 100 ms). */
export function loadModel(model: BaseModel, runner: Runner): LoadedModel {
  return {
    ...model,
    scheduler: model.scheduler as Record<string, unknown>,
    text: model.text.map(({ config, tokenizerFolder, network }) => ({
      config,
      tokenizer: loadTokenizer(tokenizerFolder),
      run: runner(network),
    })),
    run: runners(model.networks, runner),
  };
}

export function loadControlNet({ config, networks }: ControlNet, runner: Runner): LoadedControlNet {
  return { config, run: runners(networks, runner) };
}

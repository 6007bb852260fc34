import type { Network } from "../models/network.ts";
import type { BaseModel, ControlNet } from "../models/opened.ts";
import type { LoadedControlNet, LoadedModel, Run } from "./model.ts";
import { loadTokenizer } from "./tokenizer.ts";

/** Makes a network runnable; it may load it at the first run. */
export type Runner = (network: Network) => Run;

/**
 * A checkpoint's base model, with its tokenizers read (which takes some 100 ms).
 * @param remembering runs what is run once a request and often has had the same before: prompts here, hints below
 */
export function loadModel(model: BaseModel, runner: Runner, remembering: Runner): LoadedModel {
  const { unet, vae_decoder, vae_encoder, tiny_decoder } = model.networks;
  return {
    ...model,
    scheduler: model.scheduler as Record<string, unknown>,
    text: model.text.map(({ config, tokenizerFolder, network }) => ({
      config,
      tokenizer: loadTokenizer(tokenizerFolder),
      run: remembering(network),
    })),
    run: {
      unet: runner(unet),
      vae_decoder: runner(vae_decoder),
      vae_encoder: runner(vae_encoder),
      tiny_decoder: tiny_decoder && runner(tiny_decoder),
    },
  };
}

export function loadControlNet(
  { config, networks }: ControlNet,
  runner: Runner,
  remembering: Runner,
): LoadedControlNet {
  return { config, run: { hint: remembering(networks.hint), controlnet: runner(networks.controlnet) } };
}

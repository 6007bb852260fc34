import { grafted } from "../models/grafted.ts";
import type { Network } from "../models/network.ts";
import type { BaseModel, ControlNet } from "../models/opened.ts";
import { deepOutput } from "../models/shallow.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { LoadedControlNet, LoadedModel, Run } from "./model.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";

/** Makes a network runnable; it may load it at the first run. */
export type Runner = (network: Network) => Run;

/** A U-Net and ControlNets as one network, where those that run it gain by that and have room for it; else null. */
export type Join = (unet: Network, controlnets: readonly Network[]) => Network | null;

/** The outputs of a network that has no inputs, and is not run again. */
export type Once = (network: Network) => Promise<Readonly<Record<string, Tensor>>>;

/** Refuses the words that a fine-tune's tokenizer has and its text encoder has not. */
function within(words: number, tokenizer: Tokenizer): Tokenizer {
  return {
    ...tokenizer,
    encode(text) {
      const ids = tokenizer.encode(text);
      const beyond = ids.find((id) => id >= words);
      if (beyond === undefined) return ids;
      throw new Error(`the prompt has the token "${tokenizer.decode([beyond])}", which the text encoder does not have`);
    },
  };
}

/**
 * A checkpoint's base model, with its tokenizers read (which takes some 100 ms).
 * @param remembering runs what is run once a request and often has had the same before: prompts here, hints below
 */
export function loadModel(model: BaseModel, runner: Runner, remembering: Runner, join: Join = () => null): LoadedModel {
  const { unet, shallow, vae_decoder, vae_encoder, tiny_decoder } = model.networks;
  return {
    ...model,
    scheduler: model.scheduler as Record<string, unknown>,
    text: model.text.map(({ config, tokenizerFolder, network }) => ({
      config,
      tokenizer: within(config.vocab_size, loadTokenizer(tokenizerFolder)),
      run: remembering(network),
    })),
    run: {
      unet: runner(unet),
      split: (branch) => ({
        whole: runner(grafted(unet, [deepOutput(model.unet, branch)])),
        shallow: runner(shallow(branch)),
      }),
      joint(controlnets) {
        const one = join(unet, networksOf(controlnets));
        return one && runner(one);
      },
      vae_decoder: runner(vae_decoder),
      vae_encoder: runner(vae_encoder),
      tiny_decoder: tiny_decoder && runner(tiny_decoder),
    },
  };
}

export const networksOf = (controlnets: readonly LoadedControlNet[]) => controlnets.map(({ network }) => network);

export function loadControlNet(
  { config, networks }: ControlNet,
  runner: Runner,
  remembering: Runner,
): LoadedControlNet {
  const { hint, controlnet, shallow } = networks;
  return {
    config,
    network: controlnet,
    run: { hint: remembering(hint), controlnet: runner(controlnet), shallow: (branch) => runner(shallow(branch)) },
  };
}

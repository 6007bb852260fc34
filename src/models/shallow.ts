/**
 * The outer part of the U-Net and of a ControlNet, which runs alone in the evaluations between two whole ones: DeepCache
 * (arXiv 2312.00858). Branch b is the skip connections 0 … b, b = 0 the input's alone, with the up layers that take them; what the
 * layer below gave the last of these is kept from the last whole evaluation.
 */
import type { Computation } from "../onnx/build.ts";
import type { Graft } from "../onnx/graft.ts";
import { add } from "../onnx/operators.ts";
import { input, label } from "../onnx/value.ts";
import type { ControlnetConfig, UnetConfig } from "./config.ts";
import { controlnet } from "./controlnet.ts";
import { conditionInputs, SAME, skipChannels, skipConnections, timeEmbedding } from "./encoder.ts";
import { convolution, inPrecision } from "./layers.ts";
import { upLevels } from "./levels.ts";
import { featureInputs, joinName, OUTPUT, residualInputs, toOutput, upBlocks } from "./unet.ts";
import type { Weights } from "./weights.ts";

/** The input of the shallow U-Net, and the output of the whole one that it is kept from: [B, C, h/2ᵏ, w/2ᵏ]. */
export const DEEP = "deep";

/** The largest branch of a network: the whole U-Net but its middle block and what joins the last skip connection. */
export const maxBranch = (config: UnetConfig): number => skipChannels(config).length - 1;

/** The up layer that takes skip connection `branch`, and the channels of what comes to it from below. */
function joinOf(config: UnetConfig, branch: number): { at: string; channels: number } {
  let below = config.block_out_channels.at(-1)!;
  let skip = maxBranch(config);
  for (const [i, level] of upLevels(config).entries()) {
    for (let j = 0; j < level.layers; j++) {
      if (skip-- === branch) return { at: joinName(`up_blocks.${i}`, j), channels: below };
      below = level.channels;
    }
  }
  throw new RangeError(`branch ${branch}: 0 to ${maxBranch(config)} are there`);
}

/** Makes the whole U-Net give {@link DEEP} too. @throws RangeError for a branch that is not there */
export const deepOutput = (config: UnetConfig, branch: number): Graft => ({
  kind: "output",
  name: DEEP,
  ...joinOf(config, branch),
});

/**
 * The U-Net's outer part: its inputs, of the residuals the first branch + 1 alone, and {@link DEEP} → out.
 * @throws RangeError for a branch that is not there
 */
export function shallowUnet(w: Weights, config: UnetConfig, branch: number): Computation {
  const sample = input("sample", "float32", [SAME, config.in_channels, "h", "w"]);
  const conditions = conditionInputs(config);
  const residuals = residualInputs(config).slice(0, branch + 1);
  const features = featureInputs(config);

  const text = conditions.encoder_hidden_states;
  const temb = timeEmbedding(w, conditions, config);
  const x = convolution(w.at("conv_in"), sample, config.block_out_channels[0]!, config.conv_in_kernel);
  const skips = take(skipConnections(w, x, temb, text, config, features), branch + 1);
  const [, , ...size] = skips.at(-1)!.shape;
  const deep = input(DEEP, "float32", ["B", joinOf(config, branch).channels, ...size]);
  const controlled = skips.map((skip, i) => add(skip, residuals[i]!));
  const out = label(toOutput(w, upBlocks(w, deep, controlled, temb, text, config), config), OUTPUT);
  const inputs = [sample, ...Object.values(conditions), ...residuals, ...features, deep];
  return inPrecision(w, { inputs, outputs: { out } });
}

/** A ControlNet's outer part: as the whole one, but for the first branch + 1 residuals alone. */
export const shallowControlNet = (w: Weights, config: ControlnetConfig, branch: number): Computation =>
  controlnet(w, config, branch + 1);

function take<T>(values: Iterable<T>, count: number): T[] {
  const taken: T[] = [];
  for (const value of values) {
    taken.push(value);
    if (taken.length === count) break;
  }
  return taken;
}

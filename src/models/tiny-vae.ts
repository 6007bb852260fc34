import type { Computation } from "../onnx/build.ts";
import { add, conv, relu, resizeTwice, scale, sub, tanh } from "../onnx/operators.ts";
import { input, scalar, type Value } from "../onnx/value.ts";
import type { TinyVaeConfig } from "./config.ts";
import { convolution } from "./layers.ts";
import type { Weights } from "./weights.ts";

/** diffusers' AutoencoderTinyBlock: three convolutions beside a shortcut. */
function block(w: Weights, x: Value, channels: number): Value {
  const first = relu(convolution(w.at("conv.0"), x, channels));
  const second = relu(convolution(w.at("conv.2"), first, channels));
  return relu(add(convolution(w.at("conv.4"), second, channels), x));
}

/**
 * The decoder of a tiny autoencoder (diffusers' AutoencoderTiny, the TAESD of github.com/madebyollin/taesd): latents
 * [B, 4, h, w] as the U-Net has them → image [B, 3, 8h, 8w], about -1 to 1, in a hundredth of the VAE's time.
 */
export function tinyDecoder(weights: Weights, config: TinyVaeConfig): Computation {
  const latents = input("latents", "float32", ["B", config.latent_channels, "h", "w"]);
  const w = weights.at("decoder.layers");
  const blocks = config.num_decoder_blocks;
  const channels = config.decoder_block_out_channels;
  let h = scale(tanh(scale(latents, 1 / 3)), 3);
  h = relu(convolution(w.at("0"), h, channels[0]!));
  let layer = 2; // the activation has a number too
  blocks.forEach((count, i) => {
    for (let j = 0; j < count; j++) {
      h = block(w.at(`${layer++}`), h, channels[i]!);
    }
    if (i < blocks.length - 1) {
      layer++; // the enlargement has a number too
      h = conv(resizeTwice(h), w.at(`${layer++}`).get("weight", [channels[i]!, channels[i]!, 3, 3]), null);
    } else {
      h = convolution(w.at(`${layer}`), h, 3);
    }
  });
  return { inputs: [latents], outputs: { image: sub(scale(h, 2), scalar(1)) } };
}

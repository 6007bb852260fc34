import type { Computation } from "../../onnx/build.ts";
import { add, concat, relu, sigmoid, tanh } from "../../onnx/operators.ts";
import { conv2d, enlarge, instanceNorm, leakyRelu, reflectPad } from "../../onnx/spatial.ts";
import { input, type Value } from "../../onnx/value.ts";
import type { NamedWeights } from "./named-weights.ts";

const NO_PADS = [0, 0, 0, 0] as const;

/** A convolution of a mirrored picture. */
function mirrored(w: NamedWeights, layer: string, x: Value): Value {
  const kernel = w.weight(layer).shape[2] as number;
  return w.conv(layer, reflectPad(x, (kernel - 1) / 2), { pads: NO_PADS });
}

/**
 * The generator of sk_model.pth and sk_model2.pth (Chan et al., arXiv 2203.12691): image [1, 3, H, W] of 0 … 1 → line [1, 1, h, w] of
 * 0 … 1, h and w rounded up to fours.
 */
export function lineArt(w: NamedWeights): Computation {
  const image = input("image", "float32", [1, 3, "?", "?"]);
  let x = relu(instanceNorm(mirrored(w, "model0.1", image)));
  for (const layer of ["model1.0", "model1.3"]) x = relu(instanceNorm(w.conv(layer, x, { stride: 2 })));
  for (let i = 0; w.has(`model2.${i}.conv_block.1.weight`); i++) {
    const first = relu(instanceNorm(mirrored(w, `model2.${i}.conv_block.1`, x)));
    x = add(x, instanceNorm(mirrored(w, `model2.${i}.conv_block.5`, first)));
  }
  for (const layer of ["model3.0", "model3.3"]) x = relu(instanceNorm(enlarge(x, w.weight(layer), w.bias(layer))));
  return { inputs: [image], outputs: { line: sigmoid(mirrored(w, "model4.1", x)) } };
}

/** The U-Net of netG.pth (pix2pix's UnetGenerator): image [1, 3, H, W] of -1 … 1, H and W multiples of 256 → line of -1 … 1. */
export function animeLineArt(w: NamedWeights): Computation {
  const image = input("image", "float32", [1, 3, "?", "?"]);
  const down = (layer: string, x: Value) =>
    conv2d(x, w.weight(layer), w.bias(layer), { stride: 2, pads: [1, 1, 1, 1] });
  const up = (layer: string, x: Value) => enlarge(relu(x), w.weight(layer), w.bias(layer));

  /** A level and those within it; the innermost one has no third part. */
  function level(prefix: string, x: Value): Value {
    const reduced = down(`${prefix}.1`, leakyRelu(x, 0.2));
    const inner = w.has(`${prefix}.5.weight`)
      ? up(`${prefix}.5`, level(`${prefix}.3.model`, instanceNorm(reduced)))
      : up(`${prefix}.3`, reduced);
    return concat([x, instanceNorm(inner)], 1);
  }
  const line = tanh(up("model.model.3", level("model.model.1.model", down("model.model.0", image))));
  return { inputs: [image], outputs: { line } };
}

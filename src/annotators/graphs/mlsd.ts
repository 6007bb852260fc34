import type { Computation } from "../../onnx/build.ts";
import { add, concat, relu, slice } from "../../onnx/operators.ts";
import { batchNorm, interpolateTwice, relu6 } from "../../onnx/spatial.ts";
import { input, type Value } from "../../onnx/value.ts";
import type { NamedWeights } from "./named-weights.ts";

/** Blocks of the backbone (MobileNetV2's first fourteen) that halve the size, and those whose results are used. */
const HALVING = [2, 4, 7];
const LEVELS = [1, 3, 6, 10, 13];
const MAP_CHANNELS = 9;

function norm(w: NamedWeights, layer: string, x: Value): Value {
  const part = (name: string) => w.get(`${layer}.${name}`, 1);
  return batchNorm(x, part("weight"), part("bias"), part("running_mean"), part("running_var"));
}

/** A convolution and its norm, zeros only below and right where it halves the size. */
function layer(w: NamedWeights, name: string, x: Value, stride: number, depthwise = false): Value {
  const pads = stride === 2 ? ([0, 0, 1, 1] as const) : undefined;
  return relu6(norm(w, `${name}.1`, w.conv(`${name}.0`, x, { stride, depthwise, ...(pads && { pads }) })));
}

/** MobileNetV2's inverted residual (arXiv 1801.04381): widened, filtered channel by channel, narrowed. */
function residual(w: NamedWeights, name: string, x: Value, stride: number): Value {
  const isWidened = w.has(`${name}.conv.3.weight`);
  const wide = isWidened ? layer(w, `${name}.conv.0`, x, 1) : x;
  const filtered = layer(w, `${name}.conv.${isWidened ? 1 : 0}`, wide, stride, true);
  const [narrow, last] = isWidened ? [2, 3] : [1, 2];
  const y = norm(w, `${name}.conv.${last}`, w.conv(`${name}.conv.${narrow}`, filtered));
  return stride === 1 && x.shape[1] === y.shape[1] ? add(x, y) : y;
}

const dense = (w: NamedWeights, name: string, x: Value, dilation = 1) =>
  relu(norm(w, `${name}.1`, w.conv(`${name}.0`, x, { dilation })));

/** A level of the backbone beside what comes from the smaller ones. */
function merge(w: NamedWeights, name: string, level: Value, x: Value, enlarged: boolean): Value {
  const below = dense(w, `${name}.conv1`, x);
  return concat([dense(w, `${name}.conv2`, level), enlarged ? interpolateTwice(below) : below], 1);
}

/**
 * M-LSD's large network as mlsd_large_512_fp32.pth has it (Gu et al., arXiv 2106.00186): image [1, 4, H, W] of -1 … 1, sides multiples of
 * 32 → tpmap [1, 9, H/2, W/2].
 */
export function mlsd(w: NamedWeights): Computation {
  const image = input("image", "float32", [1, 4, "?", "?"]);
  let x = layer(w, "backbone.features.0", image, 2);
  const levels: Value[] = [];
  for (let i = 1; i <= LEVELS.at(-1)!; i++) {
    x = residual(w, `backbone.features.${i}`, x, HALVING.includes(i) ? 2 : 1);
    if (LEVELS.includes(i)) levels.push(x);
  }
  for (const [k, level] of levels.slice(0, -1).reverse().entries()) {
    const merged = merge(w, `block${15 + 2 * k}`, level, x, k > 0);
    const block = `block${16 + 2 * k}`;
    x = dense(w, `${block}.conv2`, add(dense(w, `${block}.conv1`, merged), merged));
  }
  const read = dense(w, "block23.conv2", dense(w, "block23.conv1", x, 5));
  const all = w.conv("block23.conv3", read);
  const channels = all.shape[1] as number;
  return { inputs: [image], outputs: { tpmap: slice(all, 1, channels - MAP_CHANNELS, channels) } };
}

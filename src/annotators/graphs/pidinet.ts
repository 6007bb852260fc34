import type { Computation } from "../../onnx/build.ts";
import {
  add,
  concat,
  gather,
  mul,
  reduceSum,
  relu,
  reshape,
  scale,
  sigmoid,
  slice,
  sub,
  transpose,
} from "../../onnx/operators.ts";
import { conv2d, interpolateLike, maxPool } from "../../onnx/spatial.ts";
import { constant, input, type Value } from "../../onnx/value.ts";
import type { NamedWeights } from "./named-weights.ts";

/**
 * The pixel differences that a convolution takes (arXiv 2108.07009, 3.1), as weights of a plain one: of each pixel to the centre, to its
 * neighbour around the centre, and from an outer ring to an inner one. Source: zhuoinoulu/pidinet `models/ops.py`.
 */
const DIFFERENCES = {
  plain: (weight: Value) => weight,
  central(weight: Value) {
    const sum = reduceSum(weight, [2, 3]); // [O, I, 1, 1]
    return sub(weight, mul(sum, constant("float32", [1, 1, 3, 3], [0, 0, 0, 0, 1, 0, 0, 0, 0])));
  },
  angular(weight: Value) {
    const around = taps(weight, [3, 0, 1, 6, 4, 2, 7, 8, 5]); // the neighbour of each tap
    return sub(weight, around);
  },
  /** A 5×5 kernel: tap 1 … 8 on the outer ring, less itself on the inner one. */
  radial(weight: Value) {
    const [outer, inner] = [
      [0, 2, 4, 10, 14, 20, 22, 24],
      [6, 7, 8, 11, 13, 16, 17, 18],
    ] as const;
    const places = new Array<number>(25).fill(0); // row 0 is zeros, 1 … 9 the taps, 10 … 18 their negatives
    outer.forEach((place, i) => {
      places[place] = 1 + (i + 1);
    });
    inner.forEach((place, i) => {
      places[place] = 10 + (i + 1);
    });
    const rows = inRows(weight);
    const [out, channels] = weight.shape as [number, number];
    const all = concat([scale(slice(rows, 0, 0, 1), 0), rows, scale(rows, -1)], 0); // [19, O, I]
    return reshape(transpose(gather(all, indices(places)), [1, 2, 0]), [out, channels, 5, 5]);
  },
};
type Difference = keyof typeof DIFFERENCES;

const indices = (places: readonly number[]) => constant("int64", [places.length], places);

/** Weights [O, I, 3, 3] as taps [9, O, I]. */
function inRows(weight: Value): Value {
  const [out, channels] = weight.shape as [number, number];
  return transpose(reshape(weight, [out, channels, 9]), [2, 0, 1]);
}

function taps(weight: Value, order: readonly number[]): Value {
  return reshape(transpose(gather(inRows(weight), indices(order)), [1, 2, 0]), weight.shape);
}

/** What the layers of each stage take: "carv4" of the paper, which table5_pidinet.pth has. */
const STAGE: readonly Difference[] = ["central", "angular", "radial", "plain"];
const DILATIONS = [5, 7, 9, 11];

function block(w: NamedWeights, name: string, x: Value, difference: Difference, halved: boolean): Value {
  const seen = halved ? maxPool(x) : x;
  const weight = w.weight(`${name}.conv1`);
  // A file for inference has its differences in the weights, and kernels of 5×5 where they are radial.
  const own = w.weight("block1_2.conv1").shape[2] === 5 ? weight : DIFFERENCES[difference](weight);
  const y = w.conv(`${name}.conv2`, relu(conv2d(seen, own, null, { depthwise: true })));
  return add(y, halved ? w.conv(`${name}.shortcut`, seen) : seen);
}

/** Compact dilation convolutions and a spatial attention, then one channel. */
function side(w: NamedWeights, i: number, x: Value): Value {
  const reduced = w.conv(`dilations.${i}.conv1`, relu(x));
  const dilated = DILATIONS.map((dilation, k) => w.conv(`dilations.${i}.conv2_${k + 1}`, reduced, { dilation }));
  const seen = dilated.reduce(add);
  const attention = sigmoid(w.conv(`attentions.${i}.conv2`, w.conv(`attentions.${i}.conv1`, relu(seen))));
  return w.conv(`conv_reduces.${i}.conv`, mul(seen, attention));
}

/** PiDiNet as table5_pidinet.pth has it: image [1, 3, H, W], blue first, 0 … 1 → edges [1, 1, H, W] of 0 … 1. */
export function pidinet(w: NamedWeights): Computation {
  const image = input("image", "float32", [1, 3, "?", "?"]);
  const isPlain = w.weight("block1_2.conv1").shape[2] === 5;
  const first = w.weight("init_block");
  let x = conv2d(image, isPlain ? first : DIFFERENCES.central(first), w.bias("init_block"));
  const sides: Value[] = [];
  for (let stage = 1; stage <= 4; stage++) {
    const differences = stage === 1 ? STAGE.slice(1) : STAGE;
    for (const [k, difference] of differences.entries()) {
      x = block(w, `block${stage}_${k + 1}`, x, difference, stage > 1 && k === 0);
    }
    sides.push(interpolateLike(side(w, stage - 1, x), image));
  }
  return { inputs: [image], outputs: { edge: sigmoid(w.conv("classifier", concat(sides, 1))) } };
}

/**
 * A small network that says of which class each pixel of a picture is: how the benches read off what a picture shows. It sees shapes
 * and surroundings, so that a house in the wrong colour is still a house. Trained by train-reader.ts, kept in reader.safetensors.
 */
import { join } from "node:path";
import { sample } from "../src/image/hint.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { readCheckpoint } from "../src/models/checkpoint.ts";
import { convolution, groupNorm } from "../src/models/layers.ts";
import { StoredWeights, Weights, weightShapes } from "../src/models/weights.ts";
import { build } from "../src/onnx/build.ts";
import { concat, mul, resizeTwice, silu, softmax, sub, transpose } from "../src/onnx/operators.ts";
import { input, type Value } from "../src/onnx/value.ts";
import { mean, stepGraph } from "../src/training/loss.ts";
import { type Shapes, TrainableWeights } from "../src/training/parameters.ts";
import { CPU, openSession } from "../workers/runtime/runtime.ts";
import { SIDE } from "./world/landscape.ts";
import { CLASSES, type Class } from "./world/part.ts";

export const READER = join(import.meta.dirname, "reader.safetensors");

/** Channels at the sides 128, 64, 32 and 16. */
const WIDTHS = [8, 16, 24, 32];
const [GROUPS, EPSILON] = [4, 1e-5];

/** How much a network sees: channels at each halved side from the image's own, convolutions at the last, and the level it ends at. */
export interface Sight {
  readonly widths: readonly number[];
  readonly middles: number;
  readonly finest: number;
}
const CLASSES_SIGHT: Sight = { widths: WIDTHS, middles: 2, finest: 0 };

/** image [B, 3, H, W] in -1 … 1 → [B, channels, H, W] / 2^finest of what is seen at each pixel and around it. */
export function look(w: Weights, image: Value, channels: number, sight = CLASSES_SIGHT): Value {
  const layer = (name: string, x: Value, width: number, stride = 1) =>
    silu(groupNorm(w.at(`${name}.norm`), convolution(w.at(`${name}.conv`), x, width, 3, { stride }), GROUPS, EPSILON));
  const sides: Value[] = [];
  let x = image;
  for (const [level, width] of sight.widths.entries()) {
    x = layer(`down.${level}`, x, width, level === 0 ? 1 : 2);
    sides.push(x);
  }
  for (let i = 0; i < sight.middles; i++) x = layer(`middle.${i}`, x, sight.widths.at(-1)!);
  for (let level = sight.widths.length - 2; level >= sight.finest; level--) {
    x = layer(`up.${level}`, concat([resizeTwice(x), sides[level]!], 1), sight.widths[level]!);
  }
  return convolution(w.at("out"), x, channels, 1);
}

/** image [B, 3, SIDE, SIDE] in -1 … 1 → [B, SIDE, SIDE, classes], the certainty of each class. */
const classify = (w: Weights, image: Value) => softmax(transpose(look(w, image, CLASSES.length), [0, 2, 3, 1]));

const pictures = (batch: number) => input("image", "float32", [batch, 3, SIDE, SIDE]);

export const readerShapes = (): Shapes => weightShapes((w) => classify(w, pictures(1)));

/**
 * `image`; `truth` [B, SIDE, SIDE, classes], 1 where a pixel is of the class, else 0; `weight` [B, SIDE, SIDE, 1] of each pixel →
 * `loss`, the weighted mean squared error of the certainties, and its gradients.
 */
export function readerStep(batch: number): Uint8Array {
  const trained = new TrainableWeights(readerShapes());
  const image = pictures(batch);
  const truth = input("truth", "float32", [batch, SIDE, SIDE, CLASSES.length]);
  const weight = input("weight", "float32", [batch, SIDE, SIDE, 1]);
  const error = sub(classify(new Weights(trained), image), truth);
  return stepGraph([image, truth, weight], mean(mul(mul(error, error), weight)), trained);
}

/** Of each picture the most certain class of each pixel, [SIDE · SIDE]. */
export async function readClasses(seen: readonly Pixels[]): Promise<Class[][]> {
  const stored = readCheckpoint(READER);
  const image = pictures(1);
  const certainties = classify(new Weights(new StoredWeights(stored.tensors)), image);
  const session = await openSession({ bytes: build([image], { certainties }), folder: stored.folder }, CPU);
  const read: Class[][] = [];
  for (const picture of seen) {
    const feeds = { image: { dims: [1, 3, SIDE, SIDE], data: sample(picture) } };
    const { data } = (await session.run(feeds)).certainties! as { data: Float32Array };
    read.push(
      Array.from({ length: SIDE * SIDE }, (_, p) => {
        const own = data.subarray(p * CLASSES.length, (p + 1) * CLASSES.length);
        return CLASSES[own.indexOf(Math.max(...own))]!;
      }),
    );
  }
  await session.release();
  return read;
}

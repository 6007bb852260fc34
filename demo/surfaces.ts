/**
 * A small network that reads depth and normals off a picture of the demo's world, for its annotators.
 * Trained by train-annotators.ts.
 */
import { join } from "node:path";
import { Weights, weightShapes } from "../src/models/weights.ts";
import { mul, sub } from "../src/onnx/operators.ts";
import { input } from "../src/onnx/value.ts";
import { mean, stepGraph } from "../src/training/loss.ts";
import { type Shapes, TrainableWeights } from "../src/training/parameters.ts";
import { look } from "./reader.ts";
import { SIDE } from "./world/landscape.ts";

export const SURFACES = join(import.meta.dirname, "surfaces.safetensors");

/** Nearness, then the normal's x, y, z: what the network gives. */
export const CHANNELS = 4;

const pictures = (batch: number) => input("image", "float32", [batch, 3, SIDE, SIDE]);

export const surfacesShapes = (): Shapes => weightShapes((w) => look(w, pictures(1), CHANNELS));

/** `image`; `truth` and `weight` [B, CHANNELS, SIDE, SIDE] → `loss`, the weighted mean squared error, and its gradients. */
export function surfacesStep(batch: number): Uint8Array {
  const trained = new TrainableWeights(surfacesShapes());
  const image = pictures(batch);
  const shape = [batch, CHANNELS, SIDE, SIDE];
  const [truth, weight] = [input("truth", "float32", shape), input("weight", "float32", shape)];
  const error = sub(look(new Weights(trained), image, CHANNELS), truth);
  return stepGraph([image, truth, weight], mean(mul(mul(error, error), weight)), trained);
}

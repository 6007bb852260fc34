/**
 * A small network that finds a person's points in a picture of the demo's world, for its annotator: heat maps as ViTPose's, of COCO's 17
 * points. Trained by train-points.ts.
 */
import { join } from "node:path";
import { Weights, weightShapes } from "../src/models/weights.ts";
import { mul, sub } from "../src/onnx/operators.ts";
import { input, type Value } from "../src/onnx/value.ts";
import { mean, stepGraph } from "../src/training/loss.ts";
import { type Shapes, TrainableWeights } from "../src/training/parameters.ts";
import { look, type Sight } from "./reader.ts";
import { SIDE } from "./world/landscape.ts";
import type { Keypoint } from "./world/skeleton.ts";

export const POINTS = join(import.meta.dirname, "points.safetensors");

/** COCO's points, in its order. */
export const COCO = [
  "nose",
  "left_eye",
  "right_eye",
  "left_ear",
  "right_ear",
  "left_shoulder",
  "right_shoulder",
  "left_elbow",
  "right_elbow",
  "left_wrist",
  "right_wrist",
  "left_hip",
  "right_hip",
  "left_knee",
  "right_knee",
  "left_ankle",
  "right_ankle",
] as const satisfies readonly Keypoint[];

/** ViTPose looks at a quarter more than the person, here than the picture: VIEW pixels a side, of which SIDE are the picture. */
export const [VIEW, HEAT] = [1.25 * SIDE, (1.25 * SIDE) / 4];
const SIGHT: Sight = { widths: [8, 16, 24, 32, 16], middles: 1, finest: 2 };

/** image [B, 3, VIEW, VIEW] in -1 … 1 → [B, 17, HEAT, HEAT]: 1 where the point is. */
export const heatMaps = (w: Weights, image: Value) => look(w, image, COCO.length, SIGHT);

const pictures = (batch: number) => input("image", "float32", [batch, 3, VIEW, VIEW]);

export const pointsShapes = (): Shapes => weightShapes((w) => heatMaps(w, pictures(1)));

/** `image`; `truth` and `weight` [B, 17, HEAT, HEAT] → `loss`, the weighted mean squared error, and its gradients. */
export function pointsStep(batch: number): Uint8Array {
  const trained = new TrainableWeights(pointsShapes());
  const image = pictures(batch);
  const shape = [batch, COCO.length, HEAT, HEAT];
  const [truth, weight] = [input("truth", "float32", shape), input("weight", "float32", shape)];
  const error = sub(heatMaps(new Weights(trained), image), truth);
  return stepGraph([image, truth, weight], mean(mul(mul(error, error), weight)), trained);
}

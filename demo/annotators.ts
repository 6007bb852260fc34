/**
 * The demo's annotators, as folders of networks in the layouts of published ones: depth with normals as Metric3D's, classes as
 * SegFormer's with the demo's own palette, a person's points as ViTPose's.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { readCheckpoint } from "../src/models/checkpoint.ts";
import { StoredWeights, Weights } from "../src/models/weights.ts";
import { build } from "../src/onnx/build.ts";
import { add, div, mul, reduceSum, relu, sigmoid, slice } from "../src/onnx/operators.ts";
import { constant, input, type Value } from "../src/onnx/value.ts";
import { readParameters, writeSafetensors } from "../src/training/stored.ts";
import { heatMaps, POINTS, VIEW } from "./points.ts";
import { look, READER } from "./reader.ts";
import { CHANNELS, SURFACES } from "./surfaces.ts";
import { SIDE } from "./world/landscape.ts";
import { PALETTE } from "./world/maps.ts";
import { CLASSES } from "./world/part.ts";

const HALF = [0.5, 0.5, 0.5];
/** A picture as the networks know it: SIDE × SIDE, -1 … 1. */
const ready = { do_resize: true, resample: 2, image_mean: HALF, image_std: HALF };
const square = { ...ready, image_processor_type: "DPTImageProcessor", size: { height: SIDE, width: SIDE } };

const scalar = (value: number) => constant("float32", [], [value]);

interface Made {
  readonly name: string;
  readonly weights: string;
  readonly config: object;
  readonly processor: object;
  readonly inputs: readonly Value[];
  readonly outputs: Readonly<Record<string, Value>>;
}

const weightsOf = (file: string) => new Weights(new StoredWeights(readCheckpoint(file).tensors));
const pictures = () => input("pixel_values", "float32", [1, 3, SIDE, SIDE]);
/** No distance is beyond a hundred of the nearest: the sky. */
const LEAST_NEAR = 0.01;

function surfaces(open: typeof weightsOf): Made {
  const image = pictures();
  const seen = look(open(SURFACES), image, CHANNELS);
  const near = add(relu(add(slice(seen, 1, 0, 1), scalar(-LEAST_NEAR))), scalar(LEAST_NEAR));
  return {
    name: "demo-surfaces",
    weights: SURFACES,
    config: { model_type: "metric3d", architectures: ["Metric3DForDepthEstimation"] },
    processor: square,
    inputs: [image],
    outputs: { predicted_depth: div(scalar(1), near), predicted_normal: slice(seen, 1, 1, 4) },
  };
}

function classes(open: typeof weightsOf): Made {
  const image = pictures();
  return {
    name: "demo-classes",
    weights: READER,
    config: {
      model_type: "segformer",
      architectures: ["SegformerForSemanticSegmentation"],
      id2label: Object.fromEntries(CLASSES.entries()),
      palette: CLASSES.map((name) => PALETTE[name]),
    },
    processor: { ...square, image_processor_type: "SegformerImageProcessor" },
    inputs: [image],
    outputs: { logits: look(open(READER), image, CLASSES.length) },
  };
}

/** The sum over a person's heat maps to their fourth power is 12 or more, of other things 3.3 at most, in 50 scenes of each. */
const LEAST_PERSON = 7;

function points(open: typeof weightsOf): Made {
  const image = input("pixel_values", "float32", [1, 3, VIEW, VIEW]);
  const heat = heatMaps(open(POINTS), image);
  const squared = mul(relu(heat), relu(heat));
  const isPerson = sigmoid(add(reduceSum(mul(squared, squared), [1, 2, 3]), scalar(-LEAST_PERSON)));
  return {
    name: "demo-points",
    weights: POINTS,
    config: { model_type: "vitpose", architectures: ["VitPoseForPoseEstimation"] },
    processor: { ...ready, image_processor_type: "VitPoseImageProcessor", size: { height: VIEW, width: VIEW } },
    inputs: [image],
    outputs: { heatmaps: mul(heat, isPerson) },
  };
}

/**
 * Writes each into its folder of `dir`, its weights beside it: in 8-bit floats, for what is shipped has 25 MB at most.
 */
export function writeAnnotators(dir: string): void {
  for (const make of [surfaces, classes, points]) {
    const { name, weights, config, processor } = make(weightsOf);
    const folder = join(dir, name);
    mkdirSync(join(folder, "onnx"), { recursive: true });
    const json = (file: string, value: object) =>
      writeFileSync(join(folder, file), `${JSON.stringify(value, null, 2)}\n`);
    json("config.json", config);
    json("preprocessor_config.json", processor);
    const small = join(folder, "onnx", basename(weights));
    writeSafetensors(small, readParameters(readCheckpoint(weights)).tensors, "F8_E4M3");
    const { inputs, outputs } = make(() => weightsOf(small));
    writeFileSync(join(folder, "onnx/model.onnx"), build(inputs, outputs));
  }
}

import type { Computation } from "../../onnx/build.ts";
import { relu, sub } from "../../onnx/operators.ts";
import { maxPool } from "../../onnx/spatial.ts";
import { input, type Value } from "../../onnx/value.ts";
import type { NamedWeights } from "./named-weights.ts";

/** How many convolutions each block has, those of VGG-16. */
const BLOCKS = [2, 2, 3, 3, 3];

/** HED as ControlNetHED.pth has it: image [1, 3, H, W] of 0 … 255 → five maps at strides 1, 2, 4, 8, 16, before the sigmoid. */
export function hed(w: NamedWeights): Computation {
  const image = input("image", "float32", [1, 3, "?", "?"]);
  let x = sub(image, w.get("norm", 4));
  const outputs: Record<string, Value> = {};
  for (const [i, count] of BLOCKS.entries()) {
    const block = `block${i + 1}`;
    if (i > 0) x = maxPool(x);
    for (let k = 0; k < count; k++) x = relu(w.conv(`${block}.convs.${k}`, x));
    outputs[`projection${i + 1}`] = w.conv(`${block}.projection`, x);
  }
  return { inputs: [image], outputs };
}

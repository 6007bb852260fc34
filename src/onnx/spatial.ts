/**
 * Operators on [B, C, H, W] that networks of pictures use beside operators.ts. Heights and widths are "?": they are known when a picture
 * comes.
 */
import { concat, shapeOf } from "./operators.ts";
import { constant, node, type Shape, ShapeError, show, type Value } from "./value.ts";

const open = (x: Value, channels = x.shape[1]!): Shape => [x.shape[0]!, channels, "?", "?"];

interface ConvOptions {
  readonly stride?: number;
  readonly dilation?: number;
  /** Every channel by a filter of its own. */
  readonly depthwise?: boolean;
  /** Rows and columns of zeros: [top, left, bottom, right]; absent = what keeps the size at stride 1. */
  readonly pads?: readonly [number, number, number, number];
}

/** Weight [O, I, k, k], or [C, 1, k, k] when depthwise. */
export function conv2d(x: Value, weight: Value, bias: Value | null, options: ConvOptions = {}): Value {
  const { stride = 1, dilation = 1, depthwise = false, pads } = options;
  const [out, inner, kernel] = weight.shape as [number, number, number];
  const channels = x.shape[1] as number;
  if (weight.shape.length !== 4 || (depthwise ? inner !== 1 || out !== channels : inner !== channels)) {
    throw new ShapeError(`Conv: input ${show(x.shape)} does not fit the weight ${show(weight.shape)}`);
  }
  const half = ((kernel - 1) / 2) * dilation;
  return node("Conv", [x, weight, bias], open(x, out), {
    attributes: {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      dilations: [dilation, dilation],
      pads: pads ?? [half, half, half, half],
      group: depthwise ? channels : 1,
    },
  });
}

/** torch's ConvTranspose2d of stride 2 and padding 1, weight [I, O, k, k]: twice as high and wide. */
export function enlarge(x: Value, weight: Value, bias: Value | null): Value {
  const [inner, out, kernel] = weight.shape as [number, number, number];
  if (weight.shape.length !== 4 || inner !== x.shape[1]) {
    throw new ShapeError(`ConvTranspose: input ${show(x.shape)} does not fit the weight ${show(weight.shape)}`);
  }
  const rest = 4 - kernel; // 1 for a kernel of 3, 0 for one of 4
  return node("ConvTranspose", [x, weight, bias], open(x, out), {
    attributes: { kernel_shape: [kernel, kernel], strides: [2, 2], pads: [1, 1, 1, 1], output_padding: [rest, rest] },
  });
}

/** The picture mirrored `size` pixels beyond its edges, which it does not repeat. */
export function reflectPad(x: Value, size: number): Value {
  const pads = constant("int64", [8], [0, 0, size, size, 0, 0, size, size]);
  return node("Pad", [x, pads], open(x), { attributes: { mode: "reflect" } });
}

/** The greatest of each 2×2. */
export const maxPool = (x: Value): Value =>
  node("MaxPool", [x], open(x), { attributes: { kernel_shape: [2, 2], strides: [2, 2] } });

/** Zero mean and unit variance of each channel of each picture (arXiv 1607.08022). */
export function instanceNorm(x: Value): Value {
  const channels = x.shape[1] as number;
  const all = (value: number) => constant("float32", [channels], new Array(channels).fill(value));
  return node("InstanceNormalization", [x, all(1), all(0)], x.shape, { attributes: { epsilon: { float: 1e-5 } } });
}

export const leakyRelu = (x: Value, slope: number): Value =>
  node("LeakyRelu", [x], x.shape, { attributes: { alpha: { float: slope } } });

/** Within 0 … 6. */
export const relu6 = (x: Value): Value =>
  node("Clip", [x, constant("float32", [], [0]), constant("float32", [], [6])], x.shape);

/** Each channel less its mean, by its deviation, as training found them. */
export const batchNorm = (x: Value, weight: Value, bias: Value, mean: Value, variance: Value): Value =>
  node("BatchNormalization", [x, weight, bias, mean, variance], x.shape, { attributes: { epsilon: { float: 1e-5 } } });

/** Linear interpolation to the height and width of `like` (torch's align_corners=False). */
export function interpolateLike(x: Value, like: Value): Value {
  const sizes = concat([shapeOf(x, 0, 2), shapeOf(like, 2, 4)], 0);
  const attributes = { mode: "linear", coordinate_transformation_mode: "half_pixel" };
  return node("Resize", [x, null, null, sizes], open(x), { attributes });
}

/** Linear interpolation to twice the size, corner pixels on corner pixels (torch's align_corners=True). */
export function interpolateTwice(x: Value): Value {
  const attributes = { mode: "linear", coordinate_transformation_mode: "align_corners" };
  return node("Resize", [x, null, constant("float32", [4], [1, 1, 2, 2])], open(x), { attributes });
}

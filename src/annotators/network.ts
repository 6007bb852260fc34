import type { Run } from "../diffusion/model.ts";
import type { Pixels } from "../image/pixels.ts";
import type { ModelValue } from "../onnx/header.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { Plane } from "./plane.ts";

/** A network that an annotator runs. Inputs and outputs have the names that its file gives them. */
export interface Net {
  readonly inputs: readonly ModelValue[];
  readonly outputs: readonly ModelValue[];
  readonly run: Run;
}

/** A network that cannot be what its folder says, or gave what it must not; running it again will not help. */
export class NetworkError extends Error {
  override readonly name = "NetworkError";
}

/** How the runtime's message begins when an operator cannot take what it is given, as it does for sizes that do not meet. */
const WHILE_RUNNING = /^Non-zero status code returned while running/;

const unrunnable = ({ dims }: Tensor) =>
  `the network does not run on a picture that became [${dims}]: some need sides of 8, 16 or 32 pixels or their multiples; detect_resolution makes the sides multiples of 64`;

/**
 * Runs a network of one input on what a picture became → its outputs in their order.
 * @throws NetworkError when the input does not fit, the network cannot run on its size, or an output is not finite
 */
export async function infer(net: Net, feed: Tensor): Promise<readonly Tensor[]> {
  const { name, shape } = net.inputs[0]!;
  const fits =
    shape.length === feed.dims.length && shape.every((dim, i) => typeof dim !== "number" || dim === feed.dims[i]);
  if (!fits) {
    throw new NetworkError(`the network's input "${name}" is [${shape.join(", ")}], the picture became [${feed.dims}]`);
  }
  const results = await net.run({ [name]: feed }).catch((error: Error) => {
    throw WHILE_RUNNING.test(error.message) ? new NetworkError(unrunnable(feed)) : error;
  });
  return net.outputs.map((output) => {
    const result = results[output.name];
    if (!(result?.data instanceof Float32Array) || !result.data.every(Number.isFinite)) {
      throw new NetworkError(`the network's output "${output.name}" is not made of finite numbers`);
    }
    return result;
  });
}

/** Channel `c` of the first image of [1, C, h, w], [1, h, w] or [h, w]. */
export function plane({ dims, data }: Tensor, c = 0): Plane {
  const [height, width] = dims.slice(-2);
  if (height === undefined || width === undefined || (c + 1) * height * width > data.length) {
    throw new NetworkError(`an output of shape [${dims}] has no channel ${c}`);
  }
  return { width, height, data: (data as Float32Array).subarray(c * height * width, (c + 1) * height * width) };
}

/** [1, 3, H, W] of `value(byte, channel)`, channels in the order that `order` names them. */
export function feedOf(
  { width, height, data }: Pixels,
  value: (byte: number, c: number) => number,
  order = [0, 1, 2],
): Tensor {
  const size = width * height;
  const out = new Float32Array(order.length * size);
  order.forEach((from, c) => {
    const table = Float32Array.from({ length: 256 }, (_, byte) => value(byte, from)); // 256 divisions, not H × W
    for (let p = 0, i = from; p < size; p++, i += 3) out[c * size + p] = table[data[i]!]!;
  });
  return { dims: [1, order.length, height, width], data: out };
}

/** A picture of grey, `value(i)` clipped to 0 … 255 and truncated. */
export function greyMap(width: number, height: number, value: (pixel: number) => number): Pixels {
  const data = new Uint8Array(3 * width * height);
  for (let p = 0; p < width * height; p++)
    data.fill(Math.trunc(Math.min(Math.max(value(p), 0), 255)), 3 * p, 3 * p + 3);
  return { width, height, data };
}

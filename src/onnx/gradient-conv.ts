import { concat, matmulTransposed, pad, reduceSum, reshape, transpose } from "./operators.ts";
import { constant, type Node, node, type Value } from "./value.ts";

const int64 = (values: readonly number[]) => constant("int64", [values.length], values);

/** Elements start, start + step, … of the axes, `sizes` of them each; a step of -1 goes backwards from `starts`. */
function stride(
  x: Value,
  axes: readonly number[],
  starts: readonly number[],
  sizes: readonly number[],
  step: number,
): Value {
  const shape = x.shape.map((dim, i) => (axes.includes(i) ? sizes[axes.indexOf(i)]! : dim));
  // An end beyond the first element, for negative steps, is any number below -size.
  const ends = starts.map((start, i) => (step > 0 ? start + (sizes[i]! - 1) * step + 1 : -1 - sizes[i]! - start));
  return node("Slice", [x, int64(starts), int64(ends), int64(axes), int64(axes.map(() => step))], shape);
}

/** Gradients of Conv toward x [B, I, H, W], weight [O, I, k, k] and bias [O]; gradient [B, O, h, w]. */
export function convGradients(
  { attributes }: Node,
  gradient: Value,
  [x, weight, bias]: readonly (Value | null)[],
): (Value | null)[] {
  const step = (attributes.strides as readonly number[])[0]!;
  const pads = attributes.pads as readonly number[];
  return [
    toInput(gradient, weight!, x!.shape as number[], step, pads),
    toWeight(gradient, x!, weight!.shape as number[], step, pads),
    bias == null ? null : reshape(reduceSum(gradient, [0, 2, 3]), bias.shape),
  ];
}

/** A convolution with the flipped, transposed weights; zeros stand between the values where the stride left pixels out. */
function toInput(
  gradient: Value,
  weight: Value,
  shape: readonly number[],
  step: number,
  pads: readonly number[],
): Value {
  const kernel = weight.shape[2] as number;
  const flipped = kernel === 1 ? weight : stride(weight, [2, 3], [kernel - 1, kernel - 1], [kernel, kernel], -1);
  const [height, width] = gradient.shape.slice(2) as [number, number];
  const [tall, wide] = [(height - 1) * step + 1, (width - 1) * step + 1];
  const [top, left] = [kernel - 1 - pads[0]!, kernel - 1 - pads[1]!];
  const around = [top, left, shape[2]! - tall + kernel - 1 - top, shape[3]! - wide + kernel - 1 - left];
  const attributes = { kernel_shape: [kernel, kernel], strides: [1, 1], pads: around };
  return node("Conv", [dilate(gradient, step), transpose(flipped, [1, 0, 2, 3])], shape, { attributes });
}

/** step - 1 zeros between neighbours in height and width. */
function dilate(x: Value, step: number): Value {
  if (step === 1) {
    return x;
  }
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const zeros = pad(
    reshape(x, [batch, channels, height, 1, width, 1]),
    [0, 0, 0, 0, 0, 0],
    [0, 0, 0, step - 1, 0, step - 1],
  );
  const whole = reshape(zeros, [batch, channels, height * step, width * step]);
  return stride(whole, [2, 3], [0, 0], [(height - 1) * step + 1, (width - 1) * step + 1], 1);
}

/** The pixels under each tap of the kernel as columns, times the gradient: one matrix product. */
function toWeight(gradient: Value, x: Value, shape: readonly number[], step: number, pads: readonly number[]): Value {
  const [out, inner, kernel] = shape as [number, number, number];
  const [batch, , height, width] = gradient.shape as [number, number, number, number];
  const pixels = batch * height * width;
  const padded = pads.some((size) => size > 0) ? pad(x, [0, 0, pads[0]!, pads[1]!], [0, 0, pads[2]!, pads[3]!]) : x;
  const last = transpose(padded, [0, 2, 3, 1]); // [B, H, W, I]: one matrix's rows are pixels
  const taps = Array.from({ length: kernel * kernel }, (_, tap) => {
    const [row, column] = [Math.floor(tap / kernel), tap % kernel];
    const seen = kernel === 1 && step === 1 ? last : stride(last, [1, 2], [row, column], [height, width], step);
    return reshape(seen, [pixels, inner]);
  });
  const columns = taps.length === 1 ? taps[0]! : concat(taps, 1); // [B·h·w, k·k·I]
  const errors = reshape(transpose(gradient, [0, 2, 3, 1]), [pixels, out]);
  const product = reshape(matmulTransposed(errors, columns), [out, kernel, kernel, inner]);
  return transpose(product, [0, 3, 1, 2]);
}

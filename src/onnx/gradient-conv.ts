import { concat, gather, matmul, matmulTransposed, pad, reduceSum, reshape, transpose } from "./operators.ts";
import { constant, type Node, node, type Value } from "./value.ts";

const int64 = (values: readonly number[]) => constant("int64", [values.length], values);

/** Elements start, start + step, … of the axes, `sizes` of them each. */
function stride(
  x: Value,
  axes: readonly number[],
  starts: readonly number[],
  sizes: readonly number[],
  step: number,
): Value {
  const shape = x.shape.map((dim, i) => (axes.includes(i) ? sizes[axes.indexOf(i)]! : dim));
  const ends = starts.map((start, i) => start + (sizes[i]! - 1) * step + 1);
  // Without steps the runtime copies whole rows: three times as fast as with steps of 1.
  const steps = step === 1 ? [] : [int64(axes.map(() => step))];
  return node("Slice", [x, int64(starts), int64(ends), int64(axes), ...steps], shape);
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
  const [height, width] = gradient.shape.slice(2) as [number, number];
  const [tall, wide] = [(height - 1) * step + 1, (width - 1) * step + 1];
  const [top, left] = [kernel - 1 - pads[0]!, kernel - 1 - pads[1]!];
  const around = [top, left, shape[2]! - tall + kernel - 1 - top, shape[3]! - wide + kernel - 1 - left];
  const attributes = { kernel_shape: [kernel, kernel], strides: [1, 1], pads: around };
  return node("Conv", [dilate(gradient, step), flip(weight)], shape, { attributes });
}

/** Weights [O, I, k, k] → [I, O, k, k], turned by half. As rows of taps: a Slice with negative steps takes ten times as long. */
function flip(weight: Value): Value {
  const [out, inner, kernel] = weight.shape as [number, number, number];
  const taps = kernel * kernel;
  const rows = transpose(reshape(weight, [out, inner, taps]), [2, 1, 0]);
  const reversed = gather(rows, int64(Array.from({ length: taps }, (_, tap) => taps - 1 - tap)));
  return reshape(transpose(reversed, [1, 2, 0]), [inner, out, kernel, kernel]);
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

/** From this many pixels an image on, a matrix product per image is faster than one over all of them (measured, 2 cores). */
const LARGE_IMAGE = 256;

/** Per tap of the kernel, the gradient times the pixels that the tap sees, summed over images and pixels. */
function toWeight(gradient: Value, x: Value, shape: readonly number[], step: number, pads: readonly number[]): Value {
  const [out, inner, kernel] = shape as [number, number, number];
  const [height, width] = gradient.shape.slice(2) as [number, number];
  const padded = pads.some((size) => size > 0) ? pad(x, [0, 0, pads[0]!, pads[1]!], [0, 0, pads[2]!, pads[3]!]) : x;
  const large = height * width >= LARGE_IMAGE;
  // Rows of a matrix are channels in a large image's product, pixels in the one over many small images.
  const whole = large ? padded : transpose(padded, [0, 2, 3, 1]);
  const taps = Array.from({ length: kernel * kernel }, (_, tap) => {
    const start = [Math.floor(tap / kernel), tap % kernel];
    return kernel === 1 && step === 1 ? whole : stride(whole, large ? [2, 3] : [1, 2], start, [height, width], step);
  });
  const product = large ? perImage(gradient, taps, inner) : overAll(gradient, taps, inner); // [O, k·k·I]
  return transpose(reshape(product, [out, kernel, kernel, inner]), [0, 3, 1, 2]);
}

/** Gradient [B, O, h, w], taps [B, I, h, w] → [O, taps·I]. */
function perImage(gradient: Value, taps: readonly Value[], inner: number): Value {
  const [batch, out, height, width] = gradient.shape as [number, number, number, number];
  const errors = reshape(gradient, [batch, out, height * width]);
  const products = taps.map((tap) => {
    const pixels = transpose(reshape(tap, [batch, inner, height * width]), [0, 2, 1]);
    return reshape(reduceSum(matmul(errors, pixels), [0]), [out, inner]);
  });
  return concat(products, 1);
}

/** Gradient [B, O, h, w], taps [B, h, w, I] → [O, taps·I], as one matrix product. */
function overAll(gradient: Value, taps: readonly Value[], inner: number): Value {
  const [batch, out, height, width] = gradient.shape as [number, number, number, number];
  const pixels = batch * height * width;
  const errors = reshape(transpose(gradient, [0, 2, 3, 1]), [pixels, out]);
  const columns = concat(
    taps.map((tap) => reshape(tap, [pixels, inner])),
    1,
  );
  return matmulTransposed(errors, columns);
}

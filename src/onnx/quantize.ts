/**
 * Matrix products in 8 bits: weights as whole numbers from -127 to 127 times one factor for each output channel, which follow from the
 * weights alone and so are computed once; activations as whole numbers from 0 to 255 with a factor and a zero of their own at each run.
 */
import { abs, add, cast, concat, div, reduceSum, reshape, scale, transpose } from "./operators.ts";
import { constant, label, node, nodes, type Shape, ShapeError, show, type Value } from "./value.ts";

const MICROSOFT = "com.microsoft";
const LARGEST = 127;
/** Divides a channel of zeros. */
const SMALLEST = 1e-30;

const int64 = (...values: number[]) => constant("int64", [values.length], values);

/**
 * A weight [out, ...] as int8 [out, inner] and factors [out]. A channel that holds a value that is no number has such a factor, so
 * that it spoils what is computed with it, as it would have.
 */
export function quantize(weight: Value): { readonly values: Value; readonly factors: Value } {
  const [out, ...rest] = weight.shape as [number, ...number[]];
  const rows = reshape(weight, [out, rest.reduce((a, b) => a * b, 1)]);
  const largest = node("ReduceMax", [abs(rows), int64(1)], [out, 1]);
  const bounded = node("Max", [largest, constant("float32", [1], [SMALLEST])], [out, 1]);
  const factors = add(scale(bounded, 1 / LARGEST), scale(reduceSum(rows, [1]), 0));
  const values = cast(node("Round", [div(rows, factors)], rows.shape), "int8");
  return { values, factors: reshape(factors, [out]) };
}

/** x [..., in] · weightᵀ [in, out] + bias [out], in 8 bits. */
export function quantizedProduct(x: Value, weight: Value, bias: Value | null): Value {
  const [out, inner] = weight.shape;
  if (weight.shape.length !== 2 || x.shape.at(-1) !== inner) {
    throw new ShapeError(`DynamicQuantizeMatMul: ${show(x.shape)} does not fit the weight ${show(weight.shape)}`);
  }
  const { values, factors } = quantize(weight);
  const parts = [x, transpose(values, [1, 0]), factors, null, ...(bias === null ? [] : [bias])];
  return node("DynamicQuantizeMatMul", parts, [...x.shape.slice(0, -1), out!], { domain: MICROSOFT });
}

/** Where a convolution's reading begins, by the name of the convolution: graft.ts finds it there. */
export const readingOf = (name: string) => `${name}.read`;

/** From row and column `at` of [B, h + 2, w + 2, C], as many as `shape` has. */
function window(x: Value, at: readonly [number, number], shape: Shape): Value {
  const ends = at.map((start) => (start === 2 ? Number.MAX_SAFE_INTEGER : start - 2));
  return node("Slice", [x, int64(...at), int64(...ends), int64(1, 2)], shape);
}

/** [B, h, w, C] → [B, h, w, 9·C]: each cell with its neighbors in the order of a kernel's cells; `zero` lies around the picture. */
function neighborhoods(x: Value, zero: Value): Value {
  const [B, , , C] = x.shape;
  const bordered = node("Pad", [x, int64(0, 1, 1, 0, 0, 1, 1, 0), zero], [B!, "?", "?", C!]);
  const cells = [0, 1, 2].flatMap((row) => [0, 1, 2].map((column) => window(bordered, [row, column], x.shape)));
  return concat(cells, 3);
}

/**
 * x [B, I, H, W], weight [O, I, k, k], bias [O] → [B, O, H, W] with a border of zeros, in 8 bits: a matrix product over the cells,
 * each with its neighbors. `name` is the product's, whose output is [B, H, W, O]. The runtime's own convolutions in 8 bits are slower, or round what they give as well.
 */
export function quantizedConvolution(x: Value, weight: Value, bias: Value, name: string): Value {
  const [B, I, H, W] = x.shape;
  const [O, inner, kernel] = weight.shape as [number, number, number];
  if (x.shape.length !== 4 || I !== inner || ![1, 3].includes(kernel)) {
    throw new ShapeError(
      `a convolution in 8 bits: input ${show(x.shape)} does not fit the weight ${show(weight.shape)}`,
    );
  }
  const [rounded, factor, zero] = nodes(
    "DynamicQuantizeLinear",
    [x],
    [
      { dtype: "uint8", shape: x.shape },
      { dtype: "float32", shape: [] },
      { dtype: "uint8", shape: [] },
    ],
  ) as [Value, Value, Value];
  label(rounded, readingOf(name));
  const cells = transpose(rounded, [0, 2, 3, 1]); // [B, H, W, I]
  const read = kernel === 1 ? cells : neighborhoods(cells, zero); // [B, H, W, k·k·I]
  const { values, factors } = quantize(transpose(weight, [0, 2, 3, 1]));
  const parts = [read, transpose(values, [1, 0]), factor, factors, zero, null, bias];
  const made = node("MatMulIntegerToFloat", parts, [B!, H!, W!, O], { domain: MICROSOFT, dtype: "float32" });
  // Not what is transposed back: the runtime moves transpositions about.
  return transpose(label(made, name), [0, 3, 1, 2]);
}

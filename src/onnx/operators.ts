/** ONNX operators as functions on values. Each shape rule fails where the node is made, and says both shapes. */
import {
  type Attribute,
  constant,
  type Dim,
  type DType,
  ELEMENT_TYPES,
  node,
  nodes,
  type Shape,
  ShapeError,
  sameShape,
  scalar,
  show,
  type Value,
} from "./value.ts";

const known = (dim: Dim | undefined): dim is number => typeof dim === "number";

/** A product of sizes: 6 of 2 and 3, "h*w" of "h" and "w". */
export function product(dims: Shape): Dim {
  const numbers = dims.filter(known).reduce((total, dim) => total * dim, 1);
  const names = dims.filter((dim) => !known(dim));
  return names.length === 0 ? numbers : [...(numbers === 1 ? [] : [numbers]), ...names].join("*");
}

/** A size divided by `by` and rounded up, as a convolution of that stride leaves it: "h" → "h/2" → "h/4". */
export function shrink(dim: Dim, by: number): Dim {
  if (known(dim)) {
    return Math.ceil(dim / by);
  }
  const [name, divisor = "1"] = dim.split("/");
  return by === 1 ? dim : `${name}/${Number(divisor) * by}`;
}

/** "?" is a size that is known to broadcast: 1, or whatever it meets. */
function broadcast(op: string, a: Value, b: Value): Shape {
  const rank = Math.max(a.shape.length, b.shape.length);
  return Array.from({ length: rank }, (_, i) => {
    const left = a.shape[i - rank + a.shape.length] ?? 1;
    const right = b.shape[i - rank + b.shape.length] ?? 1;
    if (left === "?" || right === "?") {
      return left === "?" && right !== 1 ? right : left;
    }
    if (left !== right && left !== 1 && right !== 1) {
      throw new ShapeError(`${op}: shapes ${show(a.shape)} and ${show(b.shape)} do not broadcast`);
    }
    return left === 1 ? right : left;
  });
}

const binary = (op: string) => (a: Value, b: Value) => node(op, [a, b], broadcast(op, a, b));
export const add = binary("Add");
export const sub = binary("Sub");
export const mul = binary("Mul");
export const div = binary("Div");
export const pow = binary("Pow");

const unary = (op: string) => (x: Value) => node(op, [x], x.shape);
export const sigmoid = unary("Sigmoid");
export const sin = unary("Sin");
export const cos = unary("Cos");
export const relu = unary("Relu");
export const tanh = unary("Tanh");
export const exp = unary("Exp");
export const abs = unary("Abs");
export const sign = unary("Sign");
export const erf = unary("Erf");
/** The exact GELU: x·Φ(x). */
export const gelu = unary("Gelu");

/** x·sigmoid(alpha·x) (arXiv 1606.08415, 2): SiLU with alpha 1, CLIP's quick_gelu with 1.702. */
export const sigmoidLinear = (x: Value, alpha: number) =>
  node("QuickGelu", [x], x.shape, { domain: "com.microsoft", attributes: { alpha: { float: alpha } } });
export const silu = (x: Value) => sigmoidLinear(x, 1);

export const scale = (x: Value, factor: number) => mul(x, scalar(factor));

export function cast(x: Value, to: DType): Value {
  return x.dtype === to ? x : node("Cast", [x], x.shape, { dtype: to, attributes: { to: ELEMENT_TYPES[to] } });
}

/** A [..., M, K] times b [..., K, N] → [..., M, N]. */
export function matmul(a: Value, b: Value): Value {
  const [rows, inner] = a.shape.slice(-2);
  const [innerB, columns] = b.shape.slice(-2);
  if (rows === undefined || columns === undefined || inner !== innerB) {
    throw new ShapeError(`MatMul: ${show(a.shape)} times ${show(b.shape)}: inner sizes differ`);
  }
  const batch = broadcast("MatMul", { ...a, shape: a.shape.slice(0, -2) }, { ...b, shape: b.shape.slice(0, -2) });
  return node("MatMul", [a, b], [...batch, rows, columns]);
}

export function transpose(x: Value, perm: readonly number[]): Value {
  if (perm.length !== x.shape.length) {
    throw new ShapeError(`Transpose: order ${show(perm)} does not fit the shape ${show(x.shape)}`);
  }
  const shape = perm.map((axis) => x.shape[axis]!);
  return node("Transpose", [x], shape, { attributes: { perm } });
}

interface ConvOptions {
  readonly stride?: number;
  /** Rows and columns of zeros: [top, left, bottom, right]; absent = half the kernel on every side. */
  readonly pads?: readonly [number, number, number, number];
}

/** x [B, I, H, W], weight [O, I, k, k], bias [O] → [B, O, ceil(H/stride), ceil(W/stride)]. */
export function conv(x: Value, weight: Value, bias: Value | null, { stride = 1, pads }: ConvOptions = {}): Value {
  const [batch, channels, height, width] = x.shape;
  const [out, inner, kernel] = weight.shape;
  if (x.shape.length !== 4 || weight.shape.length !== 4 || channels !== inner) {
    throw new ShapeError(`Conv: input ${show(x.shape)} does not fit the weight ${show(weight.shape)}`);
  }
  const half = ((kernel as number) - 1) / 2;
  const shape = [batch!, out!, shrink(height!, stride), shrink(width!, stride)];
  return node("Conv", [x, weight, bias], shape, {
    attributes: {
      kernel_shape: weight.shape.slice(2) as number[],
      strides: [stride, stride],
      pads: pads ?? [half, half, half, half],
    },
  });
}

/** Zero mean and unit variance over the last axis, then times weight plus bias: both [C], or [1] for one factor. */
export function layerNorm(x: Value, weight: Value, bias: Value, epsilon: number): Value {
  return node("LayerNormalization", [x, weight, bias], x.shape, {
    attributes: { axis: -1, epsilon: { float: epsilon } },
  });
}

export function softmax(x: Value): Value {
  return node("Softmax", [x], x.shape, { attributes: { axis: -1 } });
}

/** The shape of x from axis `start` to before `end`, as an int64 tensor. */
export const shapeOf = (x: Value, start = 0, end = x.shape.length): Value =>
  node("Shape", [x], [end - start], { dtype: "int64", attributes: { start, end } });

const int64 = (values: readonly number[]) => constant("int64", [values.length], values);

/**
 * x with the same elements in other axes. A named size is found at the same axis of x (0), or is the one left to infer
 * (-1), or is read at run time from the axis of `like` that has the name.
 */
export function reshape(x: Value, shape: Shape, like?: Value): Value {
  if (x.shape.every(known) && shape.every(known) && product(x.shape) !== product(shape)) {
    throw new ShapeError(`Reshape: ${show(x.shape)} has not the size of ${show(shape)}`);
  }
  const open = shape.filter((dim, i) => !known(dim) && x.shape[i] !== dim);
  const dims = shape.map((dim, i) => (known(dim) ? dim : x.shape[i] === dim ? 0 : -1));
  if (open.length <= 1) {
    return node("Reshape", [x, int64(dims)], shape);
  }
  const parts = shape.map((dim, i) => {
    const axis = like?.shape.indexOf(dim) ?? -1;
    if (known(dim) || dims[i] === 0) {
      return int64([dims[i]!]);
    }
    if (like === undefined || axis === -1) {
      throw new ShapeError(`Reshape: ${show(x.shape)} to ${show(shape)}: nothing says how large ${dim} is`);
    }
    return shapeOf(like, axis, axis + 1);
  });
  return node("Reshape", [x, concat(parts, 0)], shape);
}

/** x in the shape of `like`, read at run time. */
export function reshapeLike(x: Value, like: Value): Value {
  return node("Reshape", [x, shapeOf(like)], like.shape);
}

export function concat(parts: readonly Value[], axis: number): Value {
  const first = parts[0]!;
  for (const part of parts) {
    const fits =
      part.shape.length === first.shape.length && part.shape.every((d, i) => i === axis || d === first.shape[i]);
    if (!fits) {
      throw new ShapeError(`Concat: shapes ${show(first.shape)} and ${show(part.shape)} differ beside axis ${axis}`);
    }
  }
  const along = parts.map((part) => part.shape[axis]!);
  const total = along.every(known) ? along.reduce((a, b) => a + b, 0) : along.join("+");
  return node("Concat", parts, Object.assign([...first.shape], { [axis]: total }), { attributes: { axis } });
}

/** Elements start … end-1 of one axis. */
export function slice(x: Value, axis: number, start: number, end: number): Value {
  const size = x.shape[axis];
  if (known(size) && (start < 0 || end > size || start >= end)) {
    throw new ShapeError(`Slice: ${start} to ${end} lies outside axis ${axis} of ${show(x.shape)}`);
  }
  const shape = Object.assign([...x.shape], { [axis]: end - start });
  return node("Slice", [x, int64([start]), int64([end]), int64([axis])], shape);
}

/** x cut into equal parts along one axis. */
export function split(x: Value, parts: number, axis: number): readonly Value[] {
  const size = x.shape[axis];
  if (!known(size) || size % parts !== 0) {
    throw new ShapeError(`Split: axis ${axis} of ${show(x.shape)} does not divide into ${parts}`);
  }
  const shape = Object.assign([...x.shape], { [axis]: size / parts });
  const results = Array.from({ length: parts }, () => ({ dtype: x.dtype, shape }));
  return nodes("Split", [x], results, { attributes: { axis, num_outputs: parts } });
}

/** Rows of a table [N, ...] by their numbers. */
export function gather(table: Value, indices: Value): Value {
  return node("Gather", [table, indices], [...indices.shape, ...table.shape.slice(1)], { attributes: { axis: 0 } });
}

const reduce = (op: string) => (x: Value, axes: readonly number[]) => {
  const shape = x.shape.map((dim, i) => (axes.includes(i) ? 1 : dim));
  return node(op, [x, int64(axes)], shape, { attributes: { keepdims: 1 } });
};
/** Mean or sum over the given axes, kept as size 1. */
export const reduceMean = reduce("ReduceMean");
export const reduceSum = reduce("ReduceSum");

/** x repeated along its axes of size 1, and along new ones in front, to a shape of known sizes. */
export function expand(x: Value, shape: readonly number[]): Value {
  const result = broadcast("Expand", x, { ...x, shape });
  if (!sameShape(result, shape)) {
    throw new ShapeError(`Expand: ${show(x.shape)} does not broadcast to ${show(shape)}`);
  }
  return node("Expand", [x, int64(shape)], shape);
}

/** x with the rows of `like`, where it may have a single one instead ("?"). */
export function rowsLike(x: Value, like: Value): Value {
  if (x.shape[0] !== "?") return x;
  const ones = int64(x.shape.slice(1).map(() => 1));
  return node("Expand", [x, concat([shapeOf(like, 0, 1), ones], 0)], [like.shape[0]!, ...x.shape.slice(1)]);
}

/** A vector of one number, as long as an axis of `like`. */
export function filledLike(value: number, like: Value, axis: number): Value {
  const one = constant("float32", [1], [value]);
  return node("Expand", [one, shapeOf(like, axis, axis + 1)], [like.shape[axis]!]);
}

/** x with `before` and `after` zeros put around each axis. */
export function pad(x: Value, before: readonly number[], after: readonly number[]): Value {
  const shape = x.shape.map((dim, i) => (dim as number) + before[i]! + after[i]!);
  return node("Pad", [x, int64([...before, ...after])], shape);
}

/** aᵀ·b: a [K, M], b [K, N] → [M, N]. */
export function matmulTransposed(a: Value, b: Value): Value {
  if (a.shape.length !== 2 || b.shape.length !== 2 || a.shape[0] !== b.shape[0]) {
    throw new ShapeError(`Gemm: ${show(a.shape)} transposed times ${show(b.shape)}: first sizes differ`);
  }
  return node("Gemm", [a, b], [a.shape[1]!, b.shape[1]!], { attributes: { transA: 1 } });
}

/** Nearest-neighbour enlargement of [B, C, H, W] to the height and width of `like`. */
export function resizeLike(x: Value, like: Value): Value {
  const shape = [x.shape[0]!, x.shape[1]!, like.shape[2]!, like.shape[3]!];
  const sizes = concat([shapeOf(x, 0, 2), shapeOf(like, 2, 4)], 0);
  return node("Resize", [x, null, null, sizes], shape, { attributes: nearest });
}

/** Nearest-neighbour enlargement of [B, C, H, W] to twice its height and width. */
export function resizeTwice(x: Value): Value {
  const [batch, channels, height, width] = x.shape;
  const shape = [batch!, channels!, twice(height!), twice(width!)];
  return node("Resize", [x, null, constant("float32", [4], [1, 1, 2, 2])], shape, { attributes: nearest });
}

const twice = (dim: Dim): Dim =>
  known(dim) ? 2 * dim : dim.replace(/^(\d+)?/, (digits) => `${2 * Number(digits || 1)}`);

const nearest: Record<string, Attribute> = {
  mode: "nearest",
  nearest_mode: "floor",
  coordinate_transformation_mode: "asymmetric",
};

import type { Tensor } from "../onnx/tensor.ts";

/** Rows `start` to before `end` of the first axis, sharing memory. */
export function takeRows({ dims, data }: Tensor, start: number, end: number): Tensor {
  const size = data.length / dims[0]!;
  return { dims: [end - start, ...dims.slice(1)], data: data.subarray(start * size, end * size) };
}

/** The same row `count` times: [count, ...dims]. */
export function repeatRow(dims: readonly number[], row: Float32Array, count: number): Tensor {
  const data = new Float32Array(count * row.length);
  for (let i = 0; i < count; i++) {
    data.set(row, i * row.length);
  }
  return { dims: [count, ...dims], data };
}

/** The first row once more in front: [rows + 1, …]. */
export function repeatFirst(tensor: Tensor): Tensor {
  const { data: first } = takeRows(tensor, 0, 1);
  return stack([first as Float32Array, tensor.data as Float32Array], tensor.dims.slice(1));
}

/** `count` rows of one number. */
export const fill = (dims: readonly number[], value: number): Tensor => ({
  dims,
  data: new Float32Array(dims.reduce((product, dim) => product * dim, 1)).fill(value),
});

/** Rows on top of each other: [..., ...dims], with as many in front as there are values for. */
export function stack(rows: readonly Float32Array[], dims: readonly number[]): Tensor {
  const data = new Float32Array(rows.reduce((sum, { length }) => sum + length, 0));
  rows.reduce((at, row) => {
    data.set(row, at);
    return at + row.length;
  }, 0);
  return { dims: [data.length / dims.reduce((product, dim) => product * dim, 1), ...dims], data };
}

/** A tensor's values, row-major: float32 or int64. */
export interface Tensor {
  readonly dims: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

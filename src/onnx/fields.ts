/** What onnx.proto3 (github.com/onnx/onnx, IR 13) says a file may hold. */
import { BYTES, FIXED_32, FIXED_64, VARINT } from "./wire.ts";

/** Element types by their numbers in TensorProto.DataType, with their bits. */
export const dataTypes: Readonly<Record<number, readonly [name: string, bits: number]>> = {
  1: ["float32", 32],
  2: ["uint8", 8],
  3: ["int8", 8],
  4: ["uint16", 16],
  5: ["int16", 16],
  6: ["int32", 32],
  7: ["int64", 64],
  8: ["string", 0],
  9: ["bool", 8],
  10: ["float16", 16],
  11: ["float64", 64],
  12: ["uint32", 32],
  13: ["uint64", 64],
  16: ["bfloat16", 16],
  17: ["float8e4m3fn", 8],
  18: ["float8e4m3fnuz", 8],
  19: ["float8e5m2", 8],
  20: ["float8e5m2fnuz", 8],
  21: ["uint4", 4],
  22: ["int4", 4],
};

/** The fields that a message may have: how each is encoded. */
export type FieldsByNumber = Readonly<Record<number, readonly number[]>>;
const [number, bytes, numbers, floats, doubles] = [
  [VARINT],
  [BYTES],
  [VARINT, BYTES],
  [FIXED_32, BYTES],
  [FIXED_64, BYTES],
];
export const messages = {
  model: { 1: number, 2: bytes, 3: bytes, 4: bytes, 5: number, 6: bytes, 7: bytes, 8: bytes, 14: bytes, 25: bytes },
  opset: { 1: bytes, 2: number },
  graph: { 1: bytes, 2: bytes, 5: bytes, 10: bytes, 11: bytes, 12: bytes, 13: bytes, 14: bytes, 16: bytes },
  function: {
    ...{ 1: bytes, 4: bytes, 5: bytes, 6: bytes, 7: bytes, 8: bytes, 9: bytes, 10: bytes, 11: bytes, 12: bytes },
    ...{ 13: bytes, 14: bytes },
  },
  node: { 1: bytes, 2: bytes, 3: bytes, 4: bytes, 5: bytes, 6: bytes, 7: bytes, 8: bytes, 9: bytes },
  attribute: {
    ...{ 1: bytes, 2: [FIXED_32], 3: number, 4: bytes, 5: bytes, 6: bytes, 7: floats, 8: numbers, 9: bytes, 13: bytes },
    ...{ 20: number, 21: bytes },
  },
  tensor: {
    ...{ 1: numbers, 2: number, 4: floats, 5: numbers, 6: bytes, 7: numbers, 8: bytes, 9: bytes, 10: doubles },
    ...{ 11: numbers, 12: bytes, 13: bytes, 14: number, 16: bytes },
  },
  entry: { 1: bytes, 2: bytes },
  value: { 1: bytes, 2: bytes, 3: bytes, 4: bytes },
  type: { 1: bytes, 6: bytes },
  tensorType: { 1: number, 2: bytes },
  shape: { 1: bytes },
  dimension: { 1: number, 2: bytes, 3: bytes },
} satisfies Record<string, FieldsByNumber>;

/** Parameters from and to safetensors files (github.com/huggingface/safetensors, "Format"). */
import { closeSync, fsyncSync, openSync, readSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Checkpoint } from "../models/checkpoint.ts";
import { CheckpointError } from "../models/safetensors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { type Block, block } from "./parameters.ts";

/** bfloat16 is the upper half of a float32. */
function fromBfloat16(bytes: ArrayBuffer): Float32Array {
  return new Float32Array(Uint32Array.from(new Uint16Array(bytes), (half) => half << 16).buffer);
}

const decoders = {
  F16: (bytes: ArrayBuffer) => Float32Array.from(new Float16Array(bytes)),
  BF16: fromBfloat16,
  F64: (bytes: ArrayBuffer) => Float32Array.from(new Float64Array(bytes)),
};

/** So many bytes are read or written at a time: Node takes no more than 2 GiB at once. */
const AT_ONCE = 2 ** 30;

/** Fills `bytes` from a place in a file. @returns whether there were as many */
function readWhole(file: number, bytes: Uint8Array, from: number): boolean {
  for (let at = 0; at < bytes.length; ) {
    const read = readSync(file, bytes, at, Math.min(AT_ONCE, bytes.length - at), from + at);
    if (read === 0) return false;
    at += read;
  }
  return true;
}

function writeWhole(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += AT_ONCE) writeFileSync(file, bytes.subarray(at, at + AT_ONCE));
}

/** Fills `into` with one of a checkpoint's float tensors. @throws CheckpointError when the file ends before it does */
export function readTensor({ folder, tensors }: Checkpoint, name: string, into: Float32Array): void {
  const { dtype, location, offset, length } = tensors.get(name)!;
  const direct = dtype === "F32";
  const bytes = direct ? encoders.F32(into) : new Uint8Array(length);
  const file = openSync(join(folder, location), "r");
  try {
    if (!readWhole(file, bytes, offset)) throw new CheckpointError(`${location}: "${name}" ends early`);
  } finally {
    closeSync(file);
  }
  if (!direct) into.set(decoders[dtype as keyof typeof decoders](bytes.buffer as ArrayBuffer));
}

/**
 * A checkpoint's float tensors; whole-number ones, such as position_ids, are buffers and not parameters.
 * @param wanted which are read, by their names
 */
export function readParameters(checkpoint: Checkpoint, wanted = (_name: string) => true): Block {
  const stored = [...checkpoint.tensors].filter(([name, { dtype }]) => dtype !== "I64" && wanted(name));
  const parameters = block(new Map(stored.map(([name, { shape }]) => [name, shape])));
  for (const [name, { data }] of parameters.tensors) readTensor(checkpoint, name, data);
  return parameters;
}

/** The 127 values of float8 E4M3 that are not negative (arXiv 2209.05433), by their bits. */
const E4M3 = Array.from({ length: 127 }, (_, bits) => {
  const [exponent, mantissa] = [bits >> 3, bits & 7];
  return exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
});

/** The nearest value's bits; what is larger than all of them becomes the largest. */
function toFloat8(value: number): number {
  const size = Math.abs(value);
  const above = E4M3.findIndex((one) => one >= size);
  const bits = above < 0 ? 126 : above > 0 && size - E4M3[above - 1]! < E4M3[above]! - size ? above - 1 : above;
  return bits | (value < 0 ? 128 : 0);
}

const encoders = {
  F32: (values: Float32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  F16: (values: Float32Array) => new Uint8Array(new Float16Array(values).buffer),
  F8_E4M3: (values: Float32Array) => Uint8Array.from(values, toFloat8),
};
const elementBytes = { F32: 4, F16: 2, F8_E4M3: 1 };
export type FloatDType = keyof typeof encoders;

/** Writes a whole file or none: under another name first, on the disk before it gets its own. */
export function writeSafetensors(
  file: string,
  tensors: ReadonlyMap<string, Tensor & { readonly data: Float32Array }>,
  dtype: FloatDType,
  metadata: Readonly<Record<string, string>> = {},
): void {
  let end = 0;
  const entries = [...tensors].map(([name, { dims, data }]) => {
    const start = end;
    end += data.length * elementBytes[dtype];
    return [name, { dtype, shape: dims, data_offsets: [start, end] }];
  });
  const json = JSON.stringify({ __metadata__: { format: "pt", ...metadata }, ...Object.fromEntries(entries) });
  const padded = Buffer.from(json.padEnd(8 * Math.ceil(json.length / 8)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));

  const descriptor = openSync(`${file}.part`, "w");
  try {
    const parts = [length, padded, ...[...tensors.values()].map(({ data }) => encoders[dtype](data))];
    for (const part of parts) {
      writeWhole(descriptor, part);
    }
    fsyncSync(descriptor);
    renameSync(`${file}.part`, file);
  } finally {
    closeSync(descriptor);
    rmSync(`${file}.part`, { force: true });
  }
}

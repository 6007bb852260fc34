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
  F32: (bytes: ArrayBuffer) => new Float32Array(bytes),
  F16: (bytes: ArrayBuffer) => Float32Array.from(new Float16Array(bytes)),
  BF16: fromBfloat16,
};

/** A checkpoint's float tensors; whole-number ones, such as position_ids, are buffers and not parameters. */
export function readParameters({ folder, tensors }: Checkpoint): Block {
  const stored = [...tensors].filter(([, { dtype }]) => dtype !== "I64");
  const parameters = block(new Map(stored.map(([name, { shape }]) => [name, shape])));
  for (const [name, { dtype, location, offset, length }] of stored) {
    const bytes = new Uint8Array(length);
    const file = openSync(join(folder, location), "r");
    try {
      if (readSync(file, bytes, 0, length, offset) !== length) {
        throw new CheckpointError(`${location}: "${name}" ends early`);
      }
    } finally {
      closeSync(file);
    }
    parameters.tensors.get(name)!.data.set(decoders[dtype as keyof typeof decoders](bytes.buffer));
  }
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
      writeFileSync(descriptor, part);
    }
    fsyncSync(descriptor);
    renameSync(`${file}.part`, file);
  } finally {
    closeSync(descriptor);
    rmSync(`${file}.part`, { force: true });
  }
}

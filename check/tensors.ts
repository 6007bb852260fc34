import { readFileSync } from "node:fs";
import { headerLength, parseHeader } from "../src/models/safetensors.ts";
import type { Tensor } from "../src/onnx/tensor.ts";

/** Every float32 and int64 tensor of a small safetensors file, read whole. */
export function readTensors(file: string): Map<string, Tensor> {
  const bytes = readFileSync(file);
  const json = bytes.subarray(8, 8 + headerLength(bytes, bytes.length));
  return new Map(
    [...parseHeader(json, bytes.length).tensors].map(([name, { dtype, shape, offset, length }]) => {
      const own = new Uint8Array(bytes.subarray(offset, offset + length)).buffer;
      const data = dtype === "I64" ? new BigInt64Array(own) : new Float32Array(own);
      return [name, { dims: [...shape], data }];
    }),
  );
}

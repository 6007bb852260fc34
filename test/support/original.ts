/** Checkpoints in the original layout, written from the published names of fixtures/original (see fixtures/make/original.py). */
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { readCheckpoint } from "../../src/models/checkpoint.ts";

export interface OriginalTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** component/name in diffusers: none, one, or the three parts of a fused projection. */
  readonly diffusers: readonly string[];
}

export function published(table: string): OriginalTensor[] {
  const file = join(import.meta.dirname, `../fixtures/original/${table}.tsv.gz`);
  const lines = gunzipSync(readFileSync(file)).toString().trimEnd().split("\n");
  return lines.map((line) => {
    const [name, shape, diffusers] = line.split("\t") as [string, string, string];
    const numbers = shape === "" ? [] : shape.split(",").map(Number);
    return { name, shape: numbers, diffusers: diffusers === "" ? [] : diffusers.split("|") };
  });
}

export interface Stored {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const elementBytes: Record<string, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I8: 1,
  I64: 8,
  I32: 4,
};

/** A file of these names, shapes and dtypes; tensors without bytes are holes in the file, which read as zeros and take no room. */
export function writeFile(file: string, tensors: ReadonlyMap<string, Omit<Stored, "bytes"> & Partial<Stored>>): void {
  let end = 0;
  const entries = [...tensors].map(([name, { dtype, shape }]) => {
    const start = end;
    end += shape.reduce((product, size) => product * size, elementBytes[dtype]!);
    return [name, { dtype, shape, data_offsets: [start, end] }] as const;
  });
  const json = Buffer.from(JSON.stringify({ __metadata__: { format: "pt" }, ...Object.fromEntries(entries) }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const descriptor = openSync(file, "w");
  writeSync(descriptor, Buffer.concat([length, json]));
  ftruncateSync(descriptor, 8 + json.length + end);
  for (const [name, { data_offsets: offsets }] of entries) {
    const { bytes } = tensors.get(name)!;
    if (bytes !== undefined && bytes.length > 0)
      writeSync(descriptor, bytes, 0, bytes.length, 8 + json.length + offsets[0]!);
  }
  closeSync(descriptor);
}

/** The tensors of a component, by component/name as the published table has it. */
export function readComponent(component: string, file: string): Map<string, Stored> {
  const content = readFileSync(file);
  const isText = component.startsWith("text_encoder");
  const fullName = (name: string) => (isText && !/^text_(model|projection)\./.test(name) ? `text_model.${name}` : name);
  const stored = [...readCheckpoint(file).tensors].map(([name, { dtype, shape, offset, length }]) => {
    return [
      `${component}/${fullName(name)}`,
      { dtype, shape, bytes: content.subarray(offset, offset + length) },
    ] as const;
  });
  return new Map(stored);
}

function transpose({ dtype, shape, bytes }: Stored): Stored {
  const [rows, columns] = shape as [number, number];
  const size = elementBytes[dtype]!;
  const turned = Buffer.alloc(bytes.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const at = (row * columns + column) * size;
      turned.set(bytes.subarray(at, at + size), (column * rows + row) * size);
    }
  }
  return { dtype, shape: [columns, rows], bytes: turned };
}

/** A tensor as the original has it, from diffusers' (all parts of it). */
function toOriginal({ name, shape }: OriginalTensor, parts: readonly Stored[]): Stored {
  const [first] = parts as [Stored];
  if (parts.length > 1) {
    const rows = parts.reduce((sum, part) => sum + part.shape[0]!, 0);
    return { ...first, shape: [rows, ...first.shape.slice(1)], bytes: Buffer.concat(parts.map(({ bytes }) => bytes)) };
  }
  if (name.endsWith(".text_projection")) return transpose(first);
  return shape.length === 4 && first.shape.length === 2 ? { ...first, shape: [...first.shape, 1, 1] } : first;
}

/** Small VAEs change their channels at other levels than the published ones, and so have shortcuts where those have none. */
function shortcuts(rows: readonly OriginalTensor[], components: ReadonlyMap<string, Stored>): OriginalTensor[] {
  const known = new Set(rows.flatMap(({ diffusers }) => diffusers));
  const beside = rows.map(({ name, diffusers, shape }) => ({
    name: name.replace(".conv1.", ".nin_shortcut."),
    shape,
    diffusers: diffusers.map((target) => target.replace(".conv1.", ".conv_shortcut.")),
  }));
  const isMissing = (target: string) => target.startsWith("vae/") && components.has(target) && !known.has(target);
  return beside.filter(({ diffusers }) => diffusers.some(isMissing));
}

/** The same weights in the original layout. @throws Error when a tensor has no published name */
export function originalLayout(table: string, components: ReadonlyMap<string, Stored>): Map<string, Stored> {
  const left = new Set(components.keys());
  const result = new Map<string, Stored>();
  const rows = published(table);
  for (const tensor of [...rows, ...shortcuts(rows, components)]) {
    const parts = tensor.diffusers.map((name) => components.get(name)).filter((part) => part !== undefined);
    if (parts.length > 0) result.set(tensor.name, toOriginal(tensor, parts));
    for (const name of tensor.diffusers) left.delete(name);
  }
  if (left.size > 0) throw new Error(`no published name for ${[...left].join(", ")}`);
  return result;
}

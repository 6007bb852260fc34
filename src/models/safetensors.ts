/**
 * The safetensors format (github.com/huggingface/safetensors, "Format"): 8 bytes of header length, a JSON header, the
 * tensors' bytes. Only headers are read here, and every claim of theirs is checked: a checkpoint comes from strangers.
 */

/** Bytes per element. Networks read floating point alone; counters and the like lie beside their weights. */
export const elementBytes = {
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  F64: 8,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;
export type StoredDType = keyof typeof elementBytes;

export interface StoredTensor {
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  /** Bytes from the start of the file. */
  readonly offset: number;
  readonly length: number;
}

/** This file is permanently bad: reading it again will not help. */
export class CheckpointError extends Error {}

/** The bound of the reference implementation: a longer header is an attack, not a model. */
export const MAX_HEADER_BYTES = 100_000_000;
export const LENGTH_BYTES = 8;
/** Four times as many as a LoKr of all layers of SDXL has: to read the names of a million takes half a minute and gigabytes. */
const MOST_TENSORS = 50_000;

/** Length of the JSON header, from the first 8 bytes of a file of `fileBytes` bytes. */
export function headerLength(start: Uint8Array, fileBytes: number): number {
  if (start.length < LENGTH_BYTES) {
    throw new CheckpointError(`not a safetensors file: ${fileBytes} bytes are too few for a header`);
  }
  const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true);
  if (length === 0n) {
    throw new CheckpointError("not a safetensors file: a header of 0 bytes");
  }
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new CheckpointError(
      `not a safetensors file: a header of ${length} bytes exceeds the bound of ${MAX_HEADER_BYTES}`,
    );
  }
  if (LENGTH_BYTES + Number(length) > fileBytes) {
    throw new CheckpointError(
      `the header's ${length} bytes go beyond the file's ${fileBytes}: a download that was cut off`,
    );
  }
  return Number(length);
}

/** A key that stands twice in an object: JSON.parse would keep the last one silently. */
function duplicateKey(text: string): string | null {
  const seen: Set<string>[] = [];
  for (const match of text.matchAll(/"((?:[^"\\]|\\.)*)"(\s*:)?|[{}]/g)) {
    if (match[0] === "{") {
      seen.push(new Set());
    } else if (match[0] === "}") {
      seen.pop();
    } else if (match[2] !== undefined) {
      const key = JSON.parse(`"${match[1]}"`) as string;
      const keys = seen.at(-1);
      if (keys?.has(key)) {
        return key;
      }
      keys?.add(key);
    }
  }
  return null;
}

function parseObject(json: Uint8Array): Record<string, unknown> {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(json);
    header = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(`the header is not JSON in UTF-8: ${(cause as Error).message.slice(0, 200)}`, { cause });
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) {
    throw new CheckpointError("the header is not a JSON object");
  }
  const duplicate = duplicateKey(text);
  if (duplicate !== null) {
    throw new CheckpointError(`the header names "${duplicate}" twice`);
  }
  return header as Record<string, unknown>;
}

const OFFSETS = '"data_offsets"';

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function parseTensor(name: string, entry: unknown, dataStart: number, fileBytes: number): StoredTensor {
  const bad = (what: string) => new CheckpointError(`tensor "${name}": ${what}`);
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  if (typeof dtype !== "string" || !Object.hasOwn(elementBytes, dtype)) {
    throw bad(`dtype ${JSON.stringify(dtype)} is not one of ${Object.keys(elementBytes).join(", ")}`);
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw bad(`shape ${JSON.stringify(shape)} is not a list of whole numbers from 0`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[0]! > offsets[1]!) {
    throw bad(`data_offsets ${JSON.stringify(offsets)} are not a start and an end`);
  }
  const [start, end] = offsets as [number, number];
  if (dataStart + end > fileBytes) {
    throw bad(`its bytes end at ${dataStart + end}, beyond the file's ${fileBytes}: a download that was cut off`);
  }
  const length = shape.reduce((product, dim) => product * dim, elementBytes[dtype as StoredDType]);
  if (length !== end - start) {
    throw bad(`${dtype} ${JSON.stringify(shape)} takes ${length} bytes, its data_offsets give ${end - start}`);
  }
  return { dtype: dtype as StoredDType, shape, offset: dataStart + start, length };
}

/** Before anything is made of them. @throws CheckpointError */
function requireFewTensors(json: Uint8Array): void {
  const bytes = Buffer.from(json.buffer, json.byteOffset, json.length);
  let count = 0;
  for (let at = bytes.indexOf(OFFSETS); at >= 0; at = bytes.indexOf(OFFSETS, at + 1)) count++;
  if (count > MOST_TENSORS)
    throw new CheckpointError(`${count} tensors are more than the ${MOST_TENSORS} of any model`);
}

export interface Header {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** What the writer says of the file; only what is text. */
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * The JSON header of a file of `fileBytes` bytes.
 * @throws CheckpointError for anything that does not hold together: see the tests for the list.
 */
export function parseHeader(json: Uint8Array, fileBytes: number): Header {
  const dataStart = LENGTH_BYTES + json.length;
  const tensors = new Map<string, StoredTensor>();
  requireFewTensors(json);
  const header = parseObject(json);
  const said = Object.entries((header.__metadata__ ?? {}) as Record<string, unknown>);
  const metadata = Object.fromEntries(said.filter((entry): entry is [string, string] => typeof entry[1] === "string"));
  for (const [name, entry] of Object.entries(header)) {
    if (name !== "__metadata__") {
      tensors.set(name, parseTensor(name, entry, dataStart, fileBytes));
    }
  }
  const inOrder = [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.length - b.length);
  for (let i = 1; i < inOrder.length; i++) {
    const [before, tensor] = [inOrder[i - 1]!, inOrder[i]!];
    if (before[1].offset + before[1].length > tensor[1].offset) {
      throw new CheckpointError(`tensors "${before[0]}" and "${tensor[0]}" overlap`);
    }
  }
  requireWhole(inOrder, dataStart, fileBytes);
  return { tensors, metadata };
}

/** The reference implementation refuses bytes that are no tensor's: two files in one, or one that was written anew in part. */
function requireWhole(
  tensors: readonly (readonly [string, StoredTensor])[],
  dataStart: number,
  fileBytes: number,
): void {
  const held = tensors.reduce((sum, [, { length }]) => sum + length, 0);
  const extra = fileBytes - dataStart - held;
  if (extra > 0) throw new CheckpointError(`${extra} bytes of the file are no tensor's: it was not written whole`);
}

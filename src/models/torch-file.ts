import { closeSync, readSync, realpathSync } from "node:fs";
import { basename, dirname } from "node:path";
import type { ByteSource } from "../onnx/wire.ts";
import { type Checkpoint, readCheckpoint } from "./checkpoint.ts";
import { isTensor, type Pickled, type PickledTensor, readPickle } from "./pickle.ts";
import { LONGEST_PICKLE, PickleBytes } from "./pickle-bytes.ts";
import { openRegularFile } from "./regular-file.ts";
import { CheckpointError, elementBytes } from "./safetensors.ts";
import type { WeightSource } from "./weights.ts";
import { readZip, type ZipEntry } from "./zip.ts";

/** Where each storage's bytes lie, by its key. */
type Storages = ReadonlyMap<string, ZipEntry>;

/** Names of files that torch.save writes. */
export const TORCH_FILE = /\.(pt|pth|bin)$/i;

/** Keys under which training scripts put the weights beside other things. */
const WRAPPERS = ["state_dict", "model", "params"];

/**
 * The tensors of a file that `torch.save` wrote (.pth, .pt, .bin): its pickle is read by a machine that runs nothing (pickle.ts), and
 * the numbers stay in the file. Both of torch's formats: a ZIP file, and before 1.6 pickles one behind another.
 * @throws CheckpointError when the file is not sound, or holds anything but tensors in dictionaries
 */
export function readTorchFile(file: string): Checkpoint {
  const real = realpathSync(file);
  const { descriptor, size } = openRegularFile(real);
  try {
    const source: ByteSource = {
      size,
      read(offset, length) {
        const bytes = new Uint8Array(length);
        return bytes.subarray(0, readSync(descriptor, bytes, 0, length, offset));
      },
    };
    const { value, storages } = isZip(source) ? readZipFormat(source) : readLegacyFormat(source);
    const location = basename(real);
    const tensors = new Map<string, WeightSource>();
    for (const [name, tensor] of stateOf(value)) {
      tensors.set(name, { ...stored(name, tensor, storages, size), location });
    }
    return { folder: dirname(real), tensors };
  } catch (error) {
    throw error instanceof CheckpointError ? new CheckpointError(`${basename(file)}: ${error.message}`) : error;
  } finally {
    closeSync(descriptor);
  }
}

const isZip = ({ size, read }: ByteSource) => size > 4 && new TextDecoder().decode(read(0, 4)) === "PK\x03\x04";

/** `<name>/data.pkl`, and `<name>/data/<key>` for each storage. */
function readZipFormat(source: ByteSource): { value: Pickled; storages: Storages } {
  const entries = readZip(source);
  const pickle = [...entries.keys()].find((name) => /^[^/]*\/data\.pkl$/.test(name));
  if (pickle === undefined) throw new CheckpointError("a ZIP file without a data.pkl was not written by torch.save");
  const root = pickle.slice(0, -"data.pkl".length);
  const order = entries.get(`${root}byteorder`);
  if (order !== undefined && text(source, order) !== "little") throw new CheckpointError("its numbers are big endian");
  const { offset, length } = entries.get(pickle)!;
  if (offset + length > source.size || length > LONGEST_PICKLE)
    throw new CheckpointError("its data.pkl is cut off or too long");
  const { value } = readPickle(new PickleBytes({ size: offset + length, read: source.read }, offset));
  const data = `${root}data/`;
  const stored = [...entries].filter(([name]) => name.startsWith(data));
  return { value, storages: new Map(stored.map(([name, entry]) => [name.slice(data.length), entry])) };
}

function text(source: ByteSource, { offset, length }: ZipEntry): string {
  if (length > 16 || offset + length > source.size) throw new CheckpointError("its byteorder is cut off");
  return new TextDecoder().decode(source.read(offset, length));
}

const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;

/** A magic number, a version, facts about the machine, the value, the storages' keys; then each storage with its count of elements. */
function readLegacyFormat(source: ByteSource): { value: Pickled; storages: Storages } {
  const bytes = new PickleBytes(source, 0);
  if (source.size === 0 || bytes.number(1) !== 0x80) throw new CheckpointError("not a file of torch.save");
  bytes.at = 0;
  const [magic, protocol, machine] = [readPickle(bytes).value, readPickle(bytes).value, readPickle(bytes).value];
  if (magic !== MAGIC || protocol !== PROTOCOL) throw new CheckpointError("not a file of torch.save");
  if (!(machine instanceof Map) || machine.get("little_endian") !== true) {
    throw new CheckpointError("its numbers are not said to be little endian");
  }
  const { value, storages: known } = readPickle(bytes);
  const keys = readPickle(bytes).value;
  if (!Array.isArray(keys)) throw new CheckpointError("its storages are not listed");
  const storages = new Map<string, ZipEntry>();
  for (const key of keys) {
    const elements = bytes.number(8);
    const storage = typeof key === "string" ? known.get(key) : undefined;
    if (storage === undefined) throw new CheckpointError("it lists a storage that nothing refers to");
    const length = elements * elementBytes[storage.dtype];
    storages.set(storage.key, { offset: bytes.at, length });
    bytes.at += length;
    if (bytes.at > source.size) throw new CheckpointError(`its storage ${JSON.stringify(storage.key)} is cut off`);
  }
  return { value, storages };
}

/**
 * The tensors of a state dictionary, or of one that stands under a usual key; without the prefix of parallel training. A dictionary of
 * dictionaries, which IP-Adapters and AUTOMATIC1111's textual inversions are, gives `outer.inner`.
 */
function stateOf(value: Pickled): Map<string, PickledTensor> {
  if (!(value instanceof Map)) throw new CheckpointError("it holds no dictionary of tensors");
  const inner = WRAPPERS.map((key) => value.get(key)).find((one) => one instanceof Map);
  const own = tensorsOf((inner as Map<Pickled, Pickled> | undefined) ?? value);
  if (own.size > 0) return own;
  const nested = [...value].flatMap(([outer, one]) =>
    one instanceof Map ? [...tensorsOf(one)].map(([name, tensor]) => [`${outer}.${name}`, tensor] as const) : [],
  );
  if (nested.length === 0) throw new CheckpointError("it holds no tensors");
  return new Map(nested);
}

function tensorsOf(dictionary: ReadonlyMap<Pickled, Pickled>): Map<string, PickledTensor> {
  const tensors = new Map<string, PickledTensor>();
  for (const [name, one] of dictionary) {
    if (typeof name === "string" && isTensor(one)) tensors.set(name.replace(/^module\./, ""), one);
  }
  return tensors;
}

/** Where a tensor lies, when it lies there row by row and within its storage. */
function stored(
  name: string,
  tensor: PickledTensor,
  storages: Storages,
  fileBytes: number,
): Omit<WeightSource, "location"> {
  const { storage, shape, strides } = tensor;
  const bad = (what: string) => new CheckpointError(`tensor "${name}": ${what}`);
  const entry = storages.get(storage.key);
  if (entry === undefined) throw bad(`its storage ${JSON.stringify(storage.key)} is missing`);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis]! !== 1 && strides[axis]! !== step) throw bad("it does not lie in the file row by row");
    step *= shape[axis]!;
  }
  const size = elementBytes[storage.dtype];
  if (
    !Number.isSafeInteger(step) ||
    storage.elements * size > entry.length ||
    tensor.offset + step > storage.elements
  ) {
    throw bad(`[${shape}] goes beyond its storage`);
  }
  const [offset, length] = [entry.offset + tensor.offset * size, step * size];
  if (offset + length > fileBytes) throw bad("it is cut off");
  return { dtype: storage.dtype, shape, offset, length };
}

/** A file of weights: what torch.save wrote, by its name, or safetensors. @throws CheckpointError */
export const readWeightsFile = (file: string): Checkpoint =>
  TORCH_FILE.test(file) ? readTorchFile(file) : readCheckpoint(file);

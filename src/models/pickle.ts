/**
 * Python's pickle format, as far as torch writes weights with it, without running anything: a small machine that knows values, and of all
 * of Python's names only those in `CONSTRUCTORS` and `STORAGES`. Source: CPython `Lib/pickletools.py`; pytorch `torch/_utils.py`.
 */
import { LONGEST_PICKLE, type PickleBytes } from "./pickle-bytes.ts";
import { CheckpointError, type StoredDType } from "./safetensors.ts";

/** The numbers of one `torch.save`d storage. */
export interface PickleStorage {
  readonly kind: "storage";
  readonly dtype: StoredDType;
  readonly key: string;
  readonly elements: number;
}

/** A view of a storage; offset and strides in elements. */
export interface PickledTensor {
  readonly kind: "tensor";
  readonly storage: PickleStorage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

interface Named {
  readonly kind: "name";
  readonly name: string;
}

/** Lists and tuples are arrays, dictionaries are maps; sets, objects and code are refused. */
export type Pickled =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Pickled[]
  | Map<Pickled, Pickled>
  | PickleStorage
  | PickledTensor
  | Named;

/** What a storage's class says of its elements. */
const STORAGES: Readonly<Record<string, StoredDType>> = {
  "torch.FloatStorage": "F32",
  "torch.HalfStorage": "F16",
  "torch.BFloat16Storage": "BF16",
  "torch.DoubleStorage": "F64",
  "torch.LongStorage": "I64",
  "torch.IntStorage": "I32",
  "torch.ShortStorage": "I16",
  "torch.CharStorage": "I8",
  "torch.ByteStorage": "U8",
  "torch.BoolStorage": "BOOL",
};

/** What may be called, and what is made then. */
const CONSTRUCTORS: Readonly<Record<string, (args: readonly Pickled[]) => Pickled>> = {
  "collections.OrderedDict": () => new Map(),
  "torch._utils._rebuild_tensor_v2": ([storage, offset, shape, strides]) => tensor(storage, offset, shape, strides),
  "torch._utils._rebuild_parameter": ([data]) => data ?? null,
  "torch.Size": ([sizes]) => sizes ?? null,
};

const isName = (value: Pickled | undefined): value is Named => isKind(value, "name");
function isKind<K extends "name" | "storage" | "tensor">(
  value: unknown,
  kind: K,
): value is Extract<Pickled, { kind: K }> {
  return typeof value === "object" && value !== null && (value as { kind?: unknown }).kind === kind;
}
export const isTensor = (value: unknown): value is PickledTensor => isKind(value, "tensor");

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function tensor(storage?: Pickled, offset?: Pickled, shape?: Pickled, strides?: Pickled): PickledTensor {
  const counts = (value?: Pickled): value is number[] =>
    Array.isArray(value) && value.length <= 8 && value.every(isCount);
  if (!isKind(storage, "storage") || !isCount(offset) || !counts(shape) || !counts(strides)) {
    throw new CheckpointError("a tensor is not made of a storage, an offset, sizes and strides");
  }
  if (shape.length !== strides.length) throw new CheckpointError("a tensor has not as many strides as sizes");
  return { kind: "tensor", storage, offset, shape, strides };
}

/** Bounds on what a file can make this process hold; a state dictionary of 10,000 tensors has some 100,000 values. */
const [MOST_VALUES, LONGEST_NUMBER] = [2 ** 21, 16];

class Machine {
  readonly bytes: PickleBytes;
  readonly memo = new Map<number, Pickled>();
  readonly storages = new Map<string, PickleStorage>();
  stack: Pickled[] = [];
  readonly #marks: Pickled[][] = [];
  #made = 0;

  constructor(bytes: PickleBytes) {
    this.bytes = bytes;
  }

  push(value: Pickled): void {
    if (++this.#made > MOST_VALUES) throw new CheckpointError(`a pickle of more than ${MOST_VALUES} values`);
    this.stack.push(value);
  }

  pop(): Pickled {
    const value = this.stack.pop();
    if (value === undefined) throw new CheckpointError("a pickle takes a value that is not there");
    return value;
  }

  mark(): void {
    if (this.#marks.push(this.stack) > 1000) throw new CheckpointError("a pickle is nested more than 1000 deep");
    this.stack = [];
  }

  popMark(): Pickled[] {
    const values = this.stack;
    const before = this.#marks.pop();
    if (before === undefined) throw new CheckpointError("a pickle ends a group that was not begun");
    this.stack = before;
    return values;
  }

  popMany(count: number): Pickled[] {
    return Array.from({ length: count }, () => this.pop()).reverse();
  }

  append(values: readonly Pickled[]): void {
    const list = this.stack.at(-1);
    if (!Array.isArray(list)) throw new CheckpointError("a pickle appends to what is no list");
    for (const value of values) list.push(value);
  }

  setItems(values: readonly Pickled[]): void {
    const map = this.stack.at(-1);
    if (!(map instanceof Map) || values.length % 2 !== 0)
      throw new CheckpointError("a pickle fills what is no dictionary");
    for (let i = 0; i < values.length; i += 2) map.set(values[i]!, values[i + 1]!);
  }

  remember(at: number): void {
    const top = this.stack.at(-1);
    if (top === undefined) throw new CheckpointError("a pickle remembers a value that is not there");
    this.memo.set(at, top);
  }

  recall(at: number): void {
    const value = this.memo.get(at);
    if (value === undefined) throw new CheckpointError("a pickle recalls what it has not remembered");
    this.push(value);
  }

  name(module: string, name: string): void {
    const whole = `${module}.${name}`;
    if (!Object.hasOwn(STORAGES, whole) && !Object.hasOwn(CONSTRUCTORS, whole)) {
      throw new CheckpointError(`the pickle asks for ${JSON.stringify(whole.slice(0, 200))}: only tensors are read`);
    }
    this.push({ kind: "name", name: whole });
  }

  call(): void {
    const [callee, args] = this.popMany(2);
    const make = isName(callee) && Object.hasOwn(CONSTRUCTORS, callee.name) ? CONSTRUCTORS[callee.name] : undefined;
    if (make === undefined || !Array.isArray(args)) throw new CheckpointError("a pickle calls what cannot be called");
    this.push(make(args));
  }

  /** `_metadata`, which an OrderedDict of a module carries, says nothing of its weights. */
  build(): void {
    this.pop();
    if (!(this.stack.at(-1) instanceof Map))
      throw new CheckpointError("a pickle gives a state to what is no dictionary");
  }

  /** ("storage", its class, key, device, elements). */
  persistent(): void {
    const id = this.pop();
    const [tag, type, key, , elements] = Array.isArray(id) ? id : [];
    const dtype = isName(type) ? STORAGES[type.name] : undefined;
    if (tag !== "storage" || dtype === undefined || typeof key !== "string" || !isCount(elements)) {
      throw new CheckpointError("the pickle refers to something that is no storage of numbers");
    }
    const storage: PickleStorage = { kind: "storage", dtype, key, elements };
    this.storages.set(key, storage);
    this.push(storage);
  }

  long(length: number): void {
    if (length > LONGEST_NUMBER) throw new CheckpointError(`a number of ${length} bytes`);
    const value = this.bytes.take(length).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    const signed = BigInt.asIntN(8 * length, value);
    const number = Number(signed);
    this.push(Number.isSafeInteger(number) ? number : signed);
  }
}

/** Operations by their codes; those that are not here are refused. */
const OPERATIONS: Readonly<Record<number, (m: Machine) => void>> = {
  128: ({ bytes }) => void bytes.number(1), // PROTO
  149: ({ bytes }) => void bytes.number(8), // FRAME
  40: (m) => m.mark(),
  48: (m) => void m.pop(),
  49: (m) => void m.popMark(),
  78: (m) => m.push(null),
  136: (m) => m.push(true),
  137: (m) => m.push(false),
  74: (m) => m.push(m.bytes.number(4) | 0), // BININT
  75: (m) => m.push(m.bytes.number(1)),
  77: (m) => m.push(m.bytes.number(2)),
  138: (m) => m.long(m.bytes.number(1)),
  139: (m) => m.long(m.bytes.number(4)),
  71: (m) => m.push(new DataView(m.bytes.take(8).slice().buffer).getFloat64(0)), // BINFLOAT
  84: (m) => m.push(m.bytes.text(m.bytes.number(4))), // BINSTRING
  85: (m) => m.push(m.bytes.text(m.bytes.number(1))),
  88: (m) => m.push(m.bytes.text(m.bytes.number(4))), // BINUNICODE
  140: (m) => m.push(m.bytes.text(m.bytes.number(1))),
  141: (m) => m.push(m.bytes.text(m.bytes.number(8))),
  66: (m) => m.push(m.bytes.take(m.bytes.number(4)).slice()), // BINBYTES
  67: (m) => m.push(m.bytes.take(m.bytes.number(1)).slice()),
  93: (m) => m.push([]), // EMPTY_LIST
  97: (m) => m.append([m.pop()]),
  101: (m) => m.append(m.popMark()),
  41: (m) => m.push([]), // EMPTY_TUPLE
  116: (m) => m.push(m.popMark()),
  133: (m) => m.push(m.popMany(1)),
  134: (m) => m.push(m.popMany(2)),
  135: (m) => m.push(m.popMany(3)),
  125: (m) => m.push(new Map()), // EMPTY_DICT
  115: (m) => m.setItems(m.popMany(2)),
  117: (m) => m.setItems(m.popMark()),
  99: (m) => m.name(m.bytes.line(), m.bytes.line()), // GLOBAL
  147: (m) => m.name(...(m.popMany(2).map(String) as [string, string])), // STACK_GLOBAL
  82: (m) => m.call(), // REDUCE
  98: (m) => m.build(),
  81: (m) => m.persistent(), // BINPERSID
  113: (m) => m.remember(m.bytes.number(1)), // BINPUT
  114: (m) => m.remember(m.bytes.number(4)),
  148: (m) => m.remember(m.memo.size), // MEMOIZE
  104: (m) => m.recall(m.bytes.number(1)), // BINGET
  106: (m) => m.recall(m.bytes.number(4)),
};
const STOP = 0x2e;

/**
 * One pickled value, and every storage that it refers to by key; `bytes` stands behind it then.
 * @throws CheckpointError for anything but plain values and tensors
 */
export function readPickle(bytes: PickleBytes): { value: Pickled; storages: ReadonlyMap<string, PickleStorage> } {
  const machine = new Machine(bytes);
  const start = bytes.at;
  for (let code = bytes.number(1); code !== STOP; code = bytes.number(1)) {
    const operation = OPERATIONS[code];
    if (operation === undefined) {
      throw new CheckpointError(
        `the pickle's operation 0x${code.toString(16)} at byte ${bytes.at - 1} is not one that weights need`,
      );
    }
    operation(machine);
    if (bytes.at - start > LONGEST_PICKLE) throw new CheckpointError(`a pickle of more than ${LONGEST_PICKLE} bytes`);
  }
  return { value: machine.pop(), storages: machine.storages };
}

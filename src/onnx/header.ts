/**
 * What an ONNX file of strangers says of itself: its inputs, outputs and other files. Everything is walked but the weights, which are
 * passed over, and every claim is checked before a runtime sees the file. Field numbers: onnx.proto3 (github.com/onnx/onnx, IR 13).
 */
import { dataTypes, type FieldsByNumber, messages } from "./fields.ts";
import type { Dim } from "./value.ts";
import { type ByteSource, OnnxError, type WireField, WireReader } from "./wire.ts";

/** An input or output; a size is a number, a name, or "?" where the file does not say. */
export interface ModelValue {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly Dim[];
}

/** Bytes of another file of the same folder. */
export interface ExternalRange {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

export interface ModelHeader {
  readonly inputs: readonly ModelValue[];
  readonly outputs: readonly ModelValue[];
  /** Version of ONNX's own operator set. */
  readonly opset: number;
  readonly external: readonly ExternalRange[];
  /** What all its weights take, in this file and beside it. */
  readonly weightBytes: number;
}

const [MOST_NODES, MOST_TENSORS, MOST_VALUES, DEEPEST] = [100_000, 100_000, 1000, 8];
const MOST_DIMENSIONS = 16;
const MOST_ELEMENTS = 2 ** 32;
/** Sizes of kernels, steps, axes: no list of an operator is longer. */
const MOST_ATTRIBUTES = 4096;
/** What onnxruntime 1.30 reads. */
const LATEST = { ir: 13, opset: 26 };

interface Range {
  readonly start: number;
  readonly end: number;
}

/** One walk over a file, with what was found so far. */
class Survey {
  readonly reader: WireReader;
  readonly external: ExternalRange[] = [];
  weightBytes = 0;
  #nodes = 0;
  #tensors = 0;

  constructor(source: ByteSource) {
    this.reader = new WireReader(source);
  }

  *fields(message: keyof typeof messages, { start, end }: Range): Generator<WireField> {
    const known: FieldsByNumber = messages[message];
    for (const field of this.reader.fields(start, end)) {
      const wires = known[field.number];
      if (wires?.includes(field.wire) !== true) {
        throw new OnnxError(`an unknown field (${field.number}) in the ${message} at byte ${start}`);
      }
      yield field;
    }
  }

  /** @param depth how many graphs hold this one */
  graph(range: Range, depth: number) {
    if (depth > DEEPEST) {
      throw new OnnxError(`graphs in graphs, more than ${DEEPEST} deep`);
    }
    const [inputs, outputs, stored]: [ModelValue[], ModelValue[], Set<string>] = [[], [], new Set()];
    for (const field of this.fields("graph", range)) {
      if (field.number === 1) this.node(field, depth);
      else if (field.number === 5) stored.add(this.tensor(field));
      else if (field.number === 11) inputs.push(this.value(field));
      else if (field.number === 12) outputs.push(this.value(field));
      if (inputs.length + outputs.length - stored.size > MOST_VALUES) {
        throw new OnnxError(`more than ${MOST_VALUES} inputs and outputs`);
      }
    }
    // Old files list their weights among the inputs.
    return { inputs: inputs.filter(({ name }) => !stored.has(name)), outputs };
  }

  node(range: Range, depth: number): void {
    if (++this.#nodes > MOST_NODES) {
      throw new OnnxError(`more than ${MOST_NODES} operators`);
    }
    let op = "";
    const attributes: WireField[] = [];
    for (const field of this.fields("node", range)) {
      if (field.number === 4) op = this.reader.text(field);
      else if (field.number === 5) attributes.push(field);
    }
    for (const field of attributes) {
      this.attribute(field, op, depth);
    }
  }

  attribute(range: Range, op: string, depth: number): void {
    let name = "";
    const values: bigint[] = [];
    for (const field of this.fields("attribute", range)) {
      if (field.number === 1) name = this.reader.text(field);
      else if (field.number === 3 || field.number === 8) values.push(...this.reader.integers(field, MOST_ATTRIBUTES));
      else if (field.number === 5) this.tensor(field);
      else if (field.number === 6) this.graph(field, depth + 1);
    }
    // The runtime divides by these and multiplies them, some before it looks at them.
    const bounds = attributeBounds[name];
    if (bounds !== undefined && values.some((value) => value < bounds[0] || value > bounds[1])) {
      throw new OnnxError(`${name} of ${op || "an operator"}: ${values} is not within ${bounds.join(" to ")}`);
    }
  }

  /** Checks that a tensor has as many bytes as its shape says → its name. */
  tensor(range: Range): string {
    if (++this.#tensors > MOST_TENSORS) {
      throw new OnnxError(`more than ${MOST_TENSORS} tensors`);
    }
    let [name, type, stored, isExternal] = ["", 0, -1, false];
    const dims: bigint[] = [];
    const entries = new Map<string, string>();
    for (const field of this.fields("tensor", range)) {
      if (field.number === 1) dims.push(...this.reader.integers(field, MOST_DIMENSIONS));
      else if (field.number === 2) type = Number(field.value);
      else if (field.number === 8) name = this.reader.text(field);
      else if (field.number === 9) stored = field.end - field.start;
      else if (field.number === 13) this.entry(field, entries);
      else if (field.number === 14) isExternal = field.value === 1n;
    }
    const [, bits] = dataTypes[type] ?? [];
    const elements = dims.reduce((product, dim) => product * Number(dim), 1);
    if (bits === undefined) {
      throw new OnnxError(`tensor "${name}": its element type ${type} is unknown`);
    }
    if (dims.length > MOST_DIMENSIONS || dims.some((dim) => dim < 0n) || elements > MOST_ELEMENTS) {
      throw new OnnxError(`tensor "${name}": the shape [${dims.slice(0, MOST_DIMENSIONS)}] is not possible`);
    }
    const length = Math.ceil((elements * bits) / 8);
    this.weightBytes += length;
    if (isExternal) {
      this.external.push(externalRange(name, entries, length));
    } else if (stored >= 0 && stored !== length) {
      throw new OnnxError(`tensor "${name}": [${dims}] takes ${length} bytes, it has ${stored}`);
    } else if (elements > range.end - range.start) {
      throw new OnnxError(`tensor "${name}": [${dims}] takes more than the ${range.end - range.start} bytes it has`);
    }
    return name;
  }

  entry(range: Range, entries: Map<string, string>): void {
    const parts = ["", ""];
    for (const field of this.fields("entry", range)) parts[field.number - 1] = this.reader.text(field);
    entries.set(parts[0]!, parts[1]!);
  }

  value(range: Range): ModelValue {
    let [name, dtype] = ["", "?"];
    const shape: Dim[] = [];
    for (const field of this.fields("value", range)) {
      if (field.number === 1) name = this.reader.text(field);
      if (field.number !== 2) continue;
      for (const type of this.fields("type", field)) {
        if (type.number !== 1) continue;
        for (const part of this.fields("tensorType", type)) {
          if (part.number === 1) dtype = dataTypes[Number(part.value)]?.[0] ?? "?";
          else for (const dim of this.fields("shape", part)) shape.push(this.dimension(dim));
        }
      }
    }
    return { name, dtype, shape };
  }

  dimension(range: Range): Dim {
    let dim: Dim = "?";
    for (const field of this.fields("dimension", range)) {
      if (field.number === 1) dim = Number(BigInt.asIntN(64, field.value));
      else if (field.number === 2) dim = this.reader.text(field) || "?";
    }
    return typeof dim === "number" && dim <= 0 ? "?" : dim; // -1 is how some write "any"
  }
}

/** What whole-number attributes of these names may be; others the runtime checks before it uses them. */
const attributeBounds: Readonly<Record<string, readonly [least: bigint, most: bigint]>> = {
  group: [1n, 65_536n],
  strides: [1n, 4096n],
  dilations: [1n, 4096n],
  kernel_shape: [1n, 4096n],
  pads: [-65_536n, 65_536n],
  output_padding: [0n, 4096n],
  output_shape: [0n, 65_536n],
  blocksize: [1n, 4096n],
  num_heads: [1n, 4096n],
};

function externalRange(name: string, entries: ReadonlyMap<string, string>, length: number): ExternalRange {
  const location = entries.get("location") ?? "";
  const offset = Number(entries.get("offset") ?? 0);
  const claimed = Number(entries.get("length") ?? length);
  const isPlain = location !== "" && !/^[/\\]|\\|:|\0/.test(location) && !location.split("/").includes("..");
  if (!isPlain) {
    throw new OnnxError(`tensor "${name}" lies in ${JSON.stringify(location)}: only files beside the model are read`);
  }
  if (!Number.isSafeInteger(offset) || offset < 0 || claimed !== length) {
    throw new OnnxError(`tensor "${name}": it takes ${length} bytes, not ${claimed} from ${offset} on`);
  }
  return { location, offset, length };
}

/**
 * Reads an ONNX file's header.
 * @throws OnnxError for anything that does not hold together; it says what.
 */
export function readModelHeader(source: ByteSource): ModelHeader {
  const survey = new Survey(source);
  let [ir, opset] = [0, 0];
  let graph: Pick<ModelHeader, "inputs" | "outputs"> | null = null;
  for (const field of survey.fields("model", { start: 0, end: source.size })) {
    if (field.number === 1) ir = Number(field.value);
    else if (field.number === 7 && graph !== null) throw new OnnxError("two graphs in one file");
    else if (field.number === 7) graph = survey.graph(field, 0);
    else if (field.number === 8) opset = Math.max(opset, standardOpset(survey, field));
    else if (field.number === 25) {
      for (const part of survey.fields("function", field)) if (part.number === 7) survey.node(part, 1);
    }
  }
  if (graph === null || graph.outputs.length === 0) {
    throw new OnnxError("not an ONNX file: it has no graph with outputs");
  }
  if (ir < 3 || ir > LATEST.ir) throw new OnnxError(`its IR version is ${ir}: 3 to ${LATEST.ir} are read`);
  if (opset < 7 || opset > LATEST.opset)
    throw new OnnxError(`its operator set is ${opset}: 7 to ${LATEST.opset} are read`);
  const { external, weightBytes } = survey;
  return { ...graph, opset, external, weightBytes };
}

/** The version of ONNX's own operators that an import asks for; 0 for other domains. */
function standardOpset(survey: Survey, range: Range): number {
  let [domain, version] = ["", 0];
  for (const field of survey.fields("opset", range)) {
    if (field.number === 1) domain = survey.reader.text(field);
    else version = Number(field.value);
  }
  return domain === "" || domain === "ai.onnx" ? version : 0;
}

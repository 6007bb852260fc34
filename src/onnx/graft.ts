/**
 * Changes of a network that are added beside its weights, in the bytes of its graph: also in those that a runtime has optimised
 * for a processor, whose weights then stay as they are, packed and shared. The places are found by the names that the layers
 * have been given (label() in value.ts); what is added has its weights as further inputs.
 */
import { attributeProto, valueInfo } from "./build.ts";
import { type ParsedModel, type ParsedNode, parseModel, writeModel } from "./graph-bytes.ts";
import { readingOf } from "./quantize.ts";
import { type Attribute, ELEMENT_TYPES, type Shape } from "./value.ts";

/**
 * One addition to the layer `at` (a linear layer's matrix product or a convolution), y = f(x), or to an attention. `channels` are
 * those that the layer reads, of a shift those that it gives.
 */
export type Graft =
  /** y + x·downᵀ·upᵀ; inputs `at:down` [r, in, …], `at:up` [out, r, …]. A convolution has downᵀ's kernel, then one of 1×1. */
  | { readonly kind: "low_rank"; readonly at: string; readonly channels: number }
  /** y + x·wholeᵀ; input `at:whole` in the weight's shape. */
  | { readonly kind: "whole"; readonly at: string; readonly channels: number }
  /** y + shift; input `at:shift` that broadcasts: [out], of a convolution [out, 1, 1]. */
  | { readonly kind: "shift"; readonly at: string; readonly channels: number }
  /** attention + attention(q, k, v)·mask; inputs `at:k:index`, `at:v:index` [B, T, C] and, where masked, `at:mask:index` [1, h·w, 1]. */
  | { readonly kind: "attention"; readonly at: string; readonly index: number; readonly masked: boolean }
  /** value·keep + rows; inputs `at:keep` [B, T, 1], `at:rows` [B, T, D]: rows of a table exchanged for others. */
  | { readonly kind: "rows"; readonly at: string }
  /** The first of what a concatenation joins, [B, channels, h, w], becomes an output of the graph too, called `name`. */
  | { readonly kind: "output"; readonly at: string; readonly channels: number; readonly name: string };

/** The graph has no such place: it was not built of this network. */
export class GraftError extends Error {}

const MICROSOFT = "com.microsoft";
/** The runtime's layout of channels in blocks, for convolutions on the CPU: other operators read it only reordered. */
const BLOCKED = "com.microsoft.nchwc";

/** The product that a convolution in 8 bits is: it gives [B, h, w, C]. */
const QUANTIZED = "MatMulIntegerToFloat";

/** What a fusion or another layout appends to a node's name. */
const RENAMED = ["", "_nchwc", "/MatMulAddFusion", "/MatmulTransposeFusion/"];

const encoded = (attributes: Readonly<Record<string, Attribute>>) =>
  new Map(Object.entries(attributes).map(([name, value]) => [name, attributeProto(name, value)]));

const TO_HALF = encoded({ to: ELEMENT_TYPES.float16 });
const TO_SINGLE = encoded({ to: ELEMENT_TYPES.float32 });

const isSame = (a: Uint8Array | undefined, b: Uint8Array) => a !== undefined && Buffer.compare(a, b) === 0;

class Grafting {
  readonly model: ParsedModel;
  readonly #byName: ReadonlyMap<string, ParsedNode>;
  readonly #producers: ReadonlyMap<string, ParsedNode>;
  /** Nodes to be written after a node, in their order. */
  readonly #after = new Map<ParsedNode, ParsedNode[]>();
  /** The graph is in half precision (half.ts), as every layer that takes grafts then is. */
  readonly #isHalf: boolean;
  #count = 0;

  constructor(bytes: Uint8Array) {
    this.model = parseModel(bytes);
    const { nodes } = this.model;
    this.#byName = new Map(nodes.map((node) => [node.name, node]));
    this.#producers = new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
    this.#isHalf = nodes.some(
      ({ op, attributes }) => op === "Cast" && isSame(attributes.get("to"), TO_HALF.get("to")!),
    );
  }

  /** A value of a layer, in float32: what is added is computed so. */
  single(anchor: ParsedNode, value: string): string {
    return this.#isHalf ? this.add(anchor, "Cast", [value], "", TO_SINGLE) : value;
  }

  /** What is added, in the layer's precision. */
  own(anchor: ParsedNode, value: string): string {
    return this.#isHalf ? this.add(anchor, "Cast", [value], "", TO_HALF) : value;
  }

  find(at: string): ParsedNode {
    const node = RENAMED.map((suffix) => this.#byName.get(at + suffix)).find((found) => found !== undefined);
    if (node === undefined) throw new GraftError(`the graph has no layer "${at}"`);
    return node;
  }

  producer(value: string): ParsedNode | undefined {
    return this.#producers.get(value);
  }

  input(name: string, rank: number): string {
    this.model.moreInputs.push(valueInfo(name, { dtype: "float32", shape: Array<string>(rank).fill("?") }));
    return name;
  }

  output(name: string, shape: Shape): void {
    this.model.moreOutputs.push(valueInfo(name, { dtype: "float32", shape }));
  }

  /** Adds a node behind `anchor` → its output. */
  add(
    anchor: ParsedNode,
    op: string,
    inputs: string[],
    domain = "",
    attributes: ReadonlyMap<string, Uint8Array> = new Map(),
    output = `graft_${this.#count}`,
  ): string {
    const name = `graft_${this.#count++}`;
    const node = { name, op, domain, inputs, outputs: [output], attributes };
    this.#after.set(anchor, [...(this.#after.get(anchor) ?? []), node]);
    return output;
  }

  /** The first output of `node` becomes, for all that read it, what `change` makes of it under the name that it is given. */
  change(node: ParsedNode, change: (before: string, output: string) => void): void {
    const output = node.outputs[0]!;
    const last = this.#after.get(node)?.findLast(({ outputs }) => outputs[0] === output) ?? node; // changed already
    const before = `${output}:${this.#count}`;
    last.outputs = [before, ...last.outputs.slice(1)];
    change(before, output);
  }

  addTo(node: ParsedNode, delta: string): void {
    this.change(node, (before, output) => this.add(node, "Add", [before, delta], "", new Map(), output));
  }

  write(): Uint8Array {
    this.model.nodes = this.model.nodes.flatMap((node) => [node, ...(this.#after.get(node) ?? [])]);
    return writeModel(this.model);
  }
}

const TRANSPOSED = encoded({ transB: 1 });
const LAST_CHANNELS = encoded({ perm: [0, 2, 3, 1] });
const POINTWISE = encoded({ kernel_shape: [1, 1] });
/** Of a convolution's attributes, those that say what it reads. */
const WINDOW = ["kernel_shape", "strides", "pads", "dilations"];

/** What a layer reads, as [B, C, h, w] or [..., C], and how its weight is applied. */
interface Layer {
  readonly node: ParsedNode;
  readonly x: string;
  /** null = a matrix product. */
  readonly window: ReadonlyMap<string, Uint8Array> | null;
}

const isBlocked = ({ domain }: ParsedNode) => domain === BLOCKED;

function layerAt(grafting: Grafting, at: string, channels: number): Layer {
  const node = grafting.find(at);
  const x = node.inputs[0]!;
  if (node.op === QUANTIZED) {
    // A convolution in 8 bits (quantize.ts) keeps its picture's size.
    return { node, x: grafting.find(readingOf(at)).inputs[0]!, window: encoded({ auto_pad: "SAME_UPPER" }) };
  }
  if (node.op === "Slice") {
    // Winograd's form (winograd.ts) cuts its result to the size of what it read.
    const size = grafting.producer(node.inputs[2]!)!;
    return { node, x: size.inputs[0]!, window: encoded({ kernel_shape: [3, 3], pads: [1, 1, 1, 1] }) };
  }
  if (node.op !== "Conv") {
    return { node, x: grafting.single(node, x), window: null };
  }
  const window = new Map([...node.attributes].filter(([name]) => WINDOW.includes(name)));
  if (!isBlocked(node) || !x.startsWith("reorder")) {
    return { node, x: grafting.single(node, x), window };
  }
  const reordered = grafting.producer(x);
  if (reordered?.op === "ReorderInput" && !reordered.attributes.has("channels_last")) {
    return { node, x: reordered.inputs[0]!, window };
  }
  return { node, x: grafting.add(node, "ReorderOutput", [x], BLOCKED, encoded({ channels })), window };
}

/** A delta in the layout and the precision of what the layer gives. */
function like(grafting: Grafting, { node }: Layer, delta: string): string {
  if (node.op === QUANTIZED) return grafting.add(node, "Transpose", [delta], "", LAST_CHANNELS);
  return isBlocked(node) ? grafting.add(node, "ReorderInput", [delta], BLOCKED) : grafting.own(node, delta);
}

const apply: {
  [K in Graft["kind"]]: (grafting: Grafting, graft: Extract<Graft, { kind: K }>) => void;
} = {
  low_rank(grafting, { at, channels }) {
    const layer = layerAt(grafting, at, channels);
    const { node, x, window } = layer;
    const rank = window === null ? 2 : 4;
    const [down, up] = [grafting.input(`${at}:down`, rank), grafting.input(`${at}:up`, rank)];
    const delta =
      window === null
        ? product(grafting, node, product(grafting, node, x, down, turned(node)), up)
        : grafting.add(node, "Conv", [grafting.add(node, "Conv", [x, down], "", window), up], "", POINTWISE);
    grafting.addTo(node, like(grafting, layer, delta));
  },
  whole(grafting, { at, channels }) {
    const layer = layerAt(grafting, at, channels);
    const { node, x, window } = layer;
    const whole = grafting.input(`${at}:whole`, window === null ? 2 : 4);
    const delta =
      window === null
        ? product(grafting, node, x, whole, turned(node))
        : grafting.add(node, "Conv", [x, whole], "", window);
    grafting.addTo(node, like(grafting, layer, delta));
  },
  shift(grafting, { at, channels }) {
    const node = grafting.find(at);
    const shift = grafting.input(`${at}:shift`, ["Conv", "Slice", QUANTIZED].includes(node.op) ? 3 : 1);
    if (node.op === QUANTIZED) {
      grafting.addTo(node, grafting.add(node, "Transpose", [shift], "", encoded({ perm: [1, 2, 0] })));
      return;
    }
    if (!isBlocked(node)) {
      grafting.addTo(node, grafting.own(node, shift));
      return;
    }
    grafting.change(node, (before, output) => {
      const plain = grafting.add(node, "ReorderOutput", [before], BLOCKED, encoded({ channels }));
      const shifted = grafting.add(node, "Add", [plain, shift]);
      grafting.add(node, "ReorderInput", [shifted], BLOCKED, new Map(), output);
    });
  },
  attention(grafting, { at, index, masked }) {
    const node = grafting.find(`${at}.mix`);
    if (node.op !== "MultiHeadAttention") {
      throw new GraftError("an IP-Adapter needs the fused attention, which this execution provider computes wrongly");
    }
    const own = (name: string) => grafting.own(node, grafting.input(`${at}:${name}:${index}`, 3));
    const read = [node.inputs[0]!, own("k"), own("v")];
    const mixed = grafting.add(node, "MultiHeadAttention", read, MICROSOFT, node.attributes);
    grafting.addTo(node, masked ? grafting.add(node, "Mul", [mixed, own("mask")]) : mixed);
  },
  rows(grafting, { at }) {
    const node = grafting.find(at);
    const [keep, rows] = [grafting.input(`${at}:keep`, 3), grafting.input(`${at}:rows`, 3)];
    grafting.change(node, (before, output) => {
      const kept = grafting.add(node, "Mul", [before, keep]);
      grafting.add(node, "Add", [kept, rows], "", new Map(), output);
    });
  },
  output(grafting, { at, channels, name }) {
    const node = grafting.find(at);
    const x = node.inputs[0]!;
    if (x.startsWith("reorder")) grafting.add(node, "ReorderOutput", [x], BLOCKED, encoded({ channels }), name);
    else grafting.add(node, "Identity", [grafting.single(node, x)], "", new Map(), name);
    grafting.output(name, ["?", channels, "?", "?"]);
  },
};

/** A fused product may read x with its last two axes exchanged. */
const turned = ({ attributes }: ParsedNode) => new Map([...attributes].filter(([name]) => name === "transA"));

const product = (
  grafting: Grafting,
  node: ParsedNode,
  x: string,
  weight: string,
  how = new Map<string, Uint8Array>(),
) => grafting.add(node, "FusedMatMul", [x, weight], MICROSOFT, new Map([...TRANSPOSED, ...how]));

/** The model with all of them added. @throws GraftError when it lacks a place */
export function graft(model: Uint8Array, grafts: readonly Graft[]): Uint8Array {
  const grafting = new Grafting(model);
  for (const one of grafts) {
    (apply[one.kind] as (grafting: Grafting, graft: Graft) => void)(grafting, one);
  }
  return grafting.write();
}

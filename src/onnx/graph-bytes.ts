/** An ONNX model taken apart as far as a change of its graph needs, and put together again. Nothing else of it is read. */
import { bytes, fields, joinBytes } from "./protobuf.ts";

const text = new TextDecoder();

/** Field numbers of onnx.proto3 (github.com/onnx/onnx). */
const GRAPH = 7;
const NODE = { input: 1, output: 2, name: 3, op: 4, attribute: 5, domain: 7 };
const IN_GRAPH = { node: 1, input: 11, output: 12 };
const ATTRIBUTE_NAME = 1;

/** A node of the graph; its inputs and outputs may be exchanged. */
export interface ParsedNode {
  readonly name: string;
  readonly op: string;
  readonly domain: string;
  inputs: string[];
  outputs: string[];
  /** Each attribute as it is written, by its name. */
  readonly attributes: ReadonlyMap<string, Uint8Array>;
}

export interface ParsedModel {
  nodes: ParsedNode[];
  /** ValueInfoProtos of further inputs. */
  readonly moreInputs: Uint8Array[];
  /** ValueInfoProtos of further outputs. */
  readonly moreOutputs: Uint8Array[];
  /** All fields of the graph but its nodes, and of the model but its graph. */
  readonly restOfGraph: readonly Uint8Array[];
  readonly restOfModel: readonly Uint8Array[];
}

function parseNode(message: Uint8Array): ParsedNode {
  const strings = new Map<number, string[]>();
  const attributes = new Map<string, Uint8Array>();
  for (const { number, content } of fields(message)) {
    if (number === NODE.attribute) {
      const [name] = [...fields(content)].filter((field) => field.number === ATTRIBUTE_NAME);
      attributes.set(text.decode(name?.content), content);
    } else {
      strings.set(number, [...(strings.get(number) ?? []), text.decode(content)]);
    }
  }
  const one = (field: number) => strings.get(field)?.[0] ?? "";
  return {
    name: one(NODE.name),
    op: one(NODE.op),
    domain: one(NODE.domain),
    inputs: strings.get(NODE.input) ?? [],
    outputs: strings.get(NODE.output) ?? [],
    attributes,
  };
}

/** @throws RangeError for what is not protobuf */
export function parseModel(model: Uint8Array): ParsedModel {
  const restOfModel: Uint8Array[] = [];
  const restOfGraph: Uint8Array[] = [];
  const nodes: ParsedNode[] = [];
  for (const field of fields(model)) {
    if (field.number !== GRAPH) {
      restOfModel.push(field.whole);
      continue;
    }
    for (const part of fields(field.content)) {
      if (part.number === IN_GRAPH.node) nodes.push(parseNode(part.content));
      else restOfGraph.push(part.whole);
    }
  }
  return { nodes, moreInputs: [], moreOutputs: [], restOfGraph, restOfModel };
}

function writeNode({ name, op, domain, inputs, outputs, attributes }: ParsedNode): Uint8Array {
  return joinBytes([
    ...inputs.map((input) => bytes(NODE.input, input)),
    ...outputs.map((output) => bytes(NODE.output, output)),
    bytes(NODE.name, name),
    bytes(NODE.op, op),
    ...[...attributes.values()].map((attribute) => bytes(NODE.attribute, attribute)),
    bytes(NODE.domain, domain),
  ]);
}

export function writeModel({ nodes, moreInputs, moreOutputs, restOfGraph, restOfModel }: ParsedModel): Uint8Array {
  const graph = joinBytes([
    ...nodes.map((node) => bytes(IN_GRAPH.node, writeNode(node))),
    ...restOfGraph,
    ...moreInputs.map((input) => bytes(IN_GRAPH.input, input)),
    ...moreOutputs.map((output) => bytes(IN_GRAPH.output, output)),
  ]);
  return joinBytes([...restOfModel, bytes(GRAPH, graph)]);
}

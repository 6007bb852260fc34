import assert from "node:assert/strict";
import { test } from "node:test";
import { CheckpointError, headerLength, MAX_HEADER_BYTES, parseHeader } from "../../src/models/safetensors.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** Parses a header text in a file with `data` bytes of tensors behind it. */
const parse = (text: string, data: number) => parseHeader(bytes(text), 8 + bytes(text).length + data);

function start(length: bigint): Uint8Array {
  const first = new Uint8Array(8);
  new DataView(first.buffer).setBigUint64(0, length, true);
  return first;
}

const tensor = (shape: unknown, offsets: unknown, dtype: unknown = "F32") =>
  JSON.stringify({ dtype, shape, data_offsets: offsets });

const refused = (what: string, header: string, data: number, message: RegExp) =>
  test(`refuses ${what}`, () => {
    assert.throws(
      () => parse(header, data),
      (error: Error) => error instanceof CheckpointError && message.test(error.message),
    );
  });

test("finds each tensor's dtype, shape and bytes", () => {
  const header = `{"__metadata__":{"format":"pt"},"a":${tensor([2, 3], [0, 12], "F16")},"b":${tensor([], [12, 16])}}`;
  const dataStart = 8 + bytes(header).length;
  assert.deepEqual(Object.fromEntries(parse(header, 16).tensors), {
    a: { dtype: "F16", shape: [2, 3], offset: dataStart, length: 12 },
    b: { dtype: "F32", shape: [], offset: dataStart + 12, length: 4 },
  });
});

test("refuses a file too short for a header", () => {
  assert.throws(() => headerLength(new Uint8Array(3), 3), CheckpointError);
});

test("refuses a header length beyond the file", () => {
  assert.throws(() => headerLength(start(1000n), 500), /1000 bytes go beyond the file's 500/);
});

test("refuses a header of more than 100 MB before it is read", () => {
  const length = BigInt(MAX_HEADER_BYTES + 1);
  assert.throws(() => headerLength(start(length), 2 ** 40), /exceeds the bound/);
  assert.throws(() => headerLength(start(2n ** 64n - 1n), 2 ** 40), /exceeds the bound/);
});

refused("what is not JSON", "{", 0, /not JSON/);
refused("JSON that is not an object", "[]", 0, /not a JSON object/);
refused("a key that stands twice", `{"a":${tensor([1], [0, 4])},"a":${tensor([1], [4, 8])}}`, 8, /names "a" twice/);
refused(
  "an escaped key that stands twice",
  `{"a":${tensor([1], [0, 4])},"\\u0061":${tensor([1], [4, 8])}}`,
  8,
  /twice/,
);
refused("a field of a tensor that stands twice", `{"a":{"dtype":"F32","dtype":"F32"}}`, 0, /names "dtype" twice/);
refused("an unknown dtype", `{"a":${tensor([1], [0, 1], "F4")}}`, 1, /dtype "F4" is not one of F32, F16/);
refused("a dtype that is a property of every object", `{"a":${tensor([1], [0, 1], "constructor")}}`, 1, /dtype/);
refused("a negative size", `{"a":${tensor([-1, -1], [0, 4])}}`, 4, /shape \[-1,-1\]/);
refused("a fractional size", `{"a":${tensor([0.5], [0, 2])}}`, 2, /shape \[0.5\]/);
refused("a shape that is too large for its bytes", `{"a":${tensor([2 ** 30, 2 ** 30, 2 ** 30], [0, 4])}}`, 4, /takes/);
refused("a shape that is not a list", `{"a":${tensor("4", [0, 4])}}`, 4, /shape "4"/);
refused("offsets beyond the file", `{"a":${tensor([2], [0, 8])}}`, 4, /beyond the file/);
refused("offsets in reverse", `{"a":${tensor([1], [4, 0])}}`, 4, /not a start and an end/);
refused("negative offsets", `{"a":${tensor([1], [-4, 0])}}`, 4, /not a start and an end/);
refused("tensors that overlap", `{"a":${tensor([2], [0, 8])},"b":${tensor([1], [4, 8])}}`, 8, /"a" and "b" overlap/);
refused("an entry that is no object", `{"a":null}`, 0, /dtype undefined/);

/** Headers of safetensors files with something in them changed: refused by what is wrong, and nothing else happens. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readCheckpoint } from "../../src/models/checkpoint.ts";
import { parseConfig, UnsupportedError, unetConfig } from "../../src/models/config.ts";
import { storedNetwork } from "../../src/models/network.ts";
import { CheckpointError } from "../../src/models/safetensors.ts";
import { unet } from "../../src/models/unet.ts";
import { requireRead } from "../../src/models/unread.ts";
import { ShapeError } from "../../src/onnx/value.ts";
import { chance } from "../mutate.ts";
import { SD15 } from "../support/tiny.ts";

const UNET = join(SD15, "base/unet");
const whole = readFileSync(join(UNET, "diffusion_pytorch_model.safetensors"));
const length = Number(whole.readBigUInt64LE());
const json = whole.subarray(8, 8 + length).toString();
const config = parseConfig(unetConfig, JSON.parse(readFileSync(join(UNET, "config.json"), "utf8")), "unet");

const dir = mkdtempSync(join(tmpdir(), "headers-"));
after(() => rmSync(dir, { recursive: true }));
const file = join(dir, "diffusion_pytorch_model.safetensors");

interface Entry {
  dtype: unknown;
  shape: unknown;
  data_offsets: unknown;
}
type Header = Record<string, Entry>;
type Draw = (below: number) => number;

/** What is done to one tensor of a header, or to the header. */
const CHANGES: Record<string, (header: Header, name: string, draw: Draw) => void> = {
  "a tensor dropped": (header, name) => delete header[name],
  "a tensor under another name": (header, name) => {
    header[`${name}_`] = header[name]!;
    delete header[name];
  },
  "a tensor too many": (header, name) => Object.assign(header, { task_embedding: { ...header[name] } }),
  "another dtype": (header, name, draw) => {
    header[name]!.dtype = ["F32", "I8", "F64", "U8", "BOOL", "", null, 7, "toString"][draw(9)];
  },
  "another shape": (header, name, draw) => {
    const shape = header[name]!.shape as number[];
    header[name]!.shape = [[...shape, 1], shape.slice(1), [0], [-1], [1.5], ["16"], null, 16, [2 ** 53]][draw(9)];
  },
  "other offsets": (header, name, draw) => {
    const [start, end] = header[name]!.data_offsets as [number, number];
    header[name]!.data_offsets = [
      ...[[start + 1, end], [start, end + 2], [end, start], [-2, end - start - 2], [start], null, ["0", "8"]],
      ...[
        [start, 2 ** 40],
        [start, end + 0.5],
        [start, end, end],
      ],
    ][draw(10)];
  },
  "no entry": (header, name, draw) => Object.assign(header, { [name]: [null, [], 3, "F16", {}][draw(5)] }),
};

const open = () => {
  const checkpoint = readCheckpoint(file);
  const network = storedNetwork(checkpoint, (w) => unet(w, config));
  requireRead(checkpoint.tensors.keys(), [network], "unet");
};
const isRefusal = (error: unknown) =>
  [CheckpointError, UnsupportedError, ShapeError].some((kind) => error instanceof kind);

function write(text: string | Buffer, said = Buffer.byteLength(text)): void {
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(said));
  writeFileSync(file, Buffer.concat([head, Buffer.from(text), whole.subarray(8 + length)]));
}

function drawing(): Draw {
  const next = chance(18);
  return (below) => Math.floor(next() * below);
}

const TRIES = process.env.MUTATIONS === "all" ? 400 : 12;

for (const [what, change] of Object.entries(CHANGES)) {
  test(`${what} is refused as what it is`, () => {
    const draw = drawing();
    for (let i = 0; i < TRIES; i++) {
      const header = JSON.parse(json) as Header;
      const names = Object.keys(header).filter((name) => name !== "__metadata__");
      const name = names[draw(names.length)]!;
      change(header, name, draw);
      write(JSON.stringify(header));
      assert.throws(open, isRefusal, `${name}: ${JSON.stringify(header[name])}`);
    }
  });
}

test("bytes of a header that are others, or fewer, are refused or change nothing that is read", () => {
  const draw = drawing();
  let opened = 0;
  for (let i = 0; i < 10 * TRIES; i++) {
    const bytes = Buffer.from(json);
    for (let k = 0; k <= draw(3); k++) bytes[draw(bytes.length)] = draw(256);
    write(bytes, i % 4 === 0 ? draw(2 * length) : bytes.length);
    try {
      open();
      opened++;
    } catch (error) {
      assert.ok(isRefusal(error), String(error));
    }
  }
  assert.ok(opened < TRIES, `${opened} were opened`);
});

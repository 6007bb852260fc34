import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CheckpointError } from "../../src/models/safetensors.ts";
import { readTorchFile } from "../../src/models/torch-file.ts";
import { mutated } from "../mutate.ts";

// Made by fixtures/make/annotator-networks.py: a convolution and a norm, with torch's two formats.
const FIXTURES = join(import.meta.dirname, "../fixtures/annotators/weights");
const root = mkdtempSync(join(tmpdir(), "pth-"));
after(() => rmSync(root, { recursive: true }));

for (const name of ["tiny-zip", "tiny-legacy"])
  test(`${name}.pth: every tensor is found where it lies`, () => {
    const { tensors, folder } = readTorchFile(join(FIXTURES, `${name}.pth`));
    assert.equal(folder, FIXTURES);
    const shapes = [...tensors].map(([key, { dtype, shape }]) => `${key} ${dtype} [${shape}]`);
    assert.deepEqual(shapes, [
      ...["0.weight F32 [4,3,3,3]", "0.bias F32 [4]", "1.weight F32 [4]", "1.bias F32 [4]"],
      ...["1.running_mean F32 [4]", "1.running_var F32 [4]", "1.num_batches_tracked I64 []"],
    ]);
    const { location, offset, length } = tensors.get("1.running_var")!;
    const bytes = readFileSync(join(folder, location)).subarray(offset, offset + length);
    assert.deepEqual([...new Float32Array(new Uint8Array(bytes).buffer)], [1, 1, 1, 1]);
  });

test("an optimiser's state beside the weights is passed over, and half precision is known", () => {
  const legacy = readTorchFile(join(FIXTURES, "table5_pidinet.pth")).tensors;
  assert.ok(legacy.has("init_block.weight") && ![...legacy.keys()].some((key) => key.startsWith("module.")));
  assert.equal(readTorchFile(join(FIXTURES, "netG.pth")).tensors.get("model.model.0.weight")!.dtype, "F16");
});

test("a pickled module is refused by the name of its class, and a transposed view by its own", () => {
  const read = (name: string) => () => readTorchFile(join(FIXTURES, name));
  assert.throws(read("tiny-module.pth"), /asks for "torch\.nn\.modules\.container\.Sequential": only tensors are read/);
  assert.throws(read("tiny-strided.pth"), /tensor "weight": it does not lie in the file row by row/);
});

/** A file of the older format whose value is this pickle. */
function legacyFile(value: Buffer): string {
  const file = join(root, "hostile.pth");
  const magic = Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex");
  const protocol = Buffer.from("80024de9032e", "hex");
  const machine = Buffer.concat([
    Buffer.from("80027d580d000000", "hex"),
    Buffer.from("little_endian"),
    Buffer.from("88732e", "hex"),
  ]);
  writeFileSync(
    file,
    Buffer.concat([magic, protocol, machine, Buffer.from([0x80, 2]), value, Buffer.from("80025d2e", "hex")]),
  );
  return file;
}

const ran = join(root, "ran");
const text = (value: string) => Buffer.concat([Buffer.from([0x58, value.length, 0, 0, 0]), Buffer.from(value)]);
const ascii = (value: string) => Buffer.from(value, "latin1");

const attacks: Record<string, [pickle: Buffer, reason: RegExp]> = {
  "calls os.system": [
    Buffer.concat([ascii("cos\nsystem\n"), text(`touch ${ran}`), ascii("\x85R.")]),
    /asks for "os\.system": only tensors are read/,
  ],
  "finds eval by STACK_GLOBAL": [Buffer.concat([text("builtins"), text("eval"), ascii("\x93.")]), /"builtins\.eval"/],
  "hides a name behind __proto__": [ascii("c__proto__\nconstructor\n."), /"__proto__\.constructor"/],
  "calls a number": [ascii("K\x01)R."), /calls what cannot be called/],
  "calls a storage's class": [ascii("ctorch\nFloatStorage\n)R."), /calls what cannot be called/],
  "makes an object of its own": [ascii("(i__main__\nThing\n."), /operation 0x69 /],
  "sets a state on a list": [ascii("]}b."), /gives a state to what is no dictionary/],
  "says a text of 4 GB": [ascii("X\xff\xff\xff\xffabc."), /ends within something of 4294967295 bytes/],
  "says a number of 255 bytes": [ascii("\x8a\xff\x01."), /a number of 255 bytes/],
  "opens a thousand groups": [ascii(`${"(".repeat(1001)}.`), /nested more than 1000 deep/],
  "takes from an empty stack": [ascii("0."), /takes a value that is not there/],
  "recalls what was not kept": [ascii("h\x07."), /recalls what it has not remembered/],
  "is its own content": [ascii("}q\x00X\x01\x00\x00\x00ah\x00s."), /holds no tensors/],
  "has no end": [ascii("}}}}"), /ends within something of 1 bytes|takes|dictionary/],
};
for (const [what, [pickle, reason]] of Object.entries(attacks))
  test(`a pickle that ${what} is refused and runs nothing`, () => {
    assert.throws(
      () => readTorchFile(legacyFile(pickle)),
      (error: unknown) => error instanceof CheckpointError && reason.test(error.message),
    );
    assert.ok(!existsSync(ran));
  });

test("a pickle that doubles a list a hundred times takes no time and no memory", () => {
  const doubled = ascii(
    `]q\x00${Array.from({ length: 100 }, (_, i) => `]q${String.fromCharCode(i + 1)}h${String.fromCharCode(i)}ah${String.fromCharCode(i)}a`).join("")}.`,
  );
  const before = process.memoryUsage().heapUsed;
  assert.throws(() => readTorchFile(legacyFile(doubled)), CheckpointError);
  assert.ok(process.memoryUsage().heapUsed - before < 2 ** 25);
});

test("damaged files give one error of one kind each", (t) => {
  const counts = { refused: 0, read: 0 };
  const file = join(root, "damaged.pth");
  for (const name of ["tiny-zip", "tiny-legacy"]) {
    const whole = readFileSync(join(FIXTURES, `${name}.pth`));
    for (let seed = 0; seed < 500; seed++) {
      writeFileSync(file, mutated(whole, seed));
      try {
        readTorchFile(file);
        counts.read += 1;
      } catch (error) {
        assert.ok(error instanceof CheckpointError, `seed ${seed}: ${(error as Error).stack}`);
        counts.refused += 1;
      }
    }
  }
  t.diagnostic(JSON.stringify(counts));
  assert.ok(counts.refused > 800);
});

test("a compressed ZIP entry, and a file that is something else, are refused", () => {
  const whole = readFileSync(join(FIXTURES, "tiny-zip.pth"));
  const directory = whole.indexOf(Buffer.from("504b0102", "hex"));
  const compressed = Buffer.from(whole);
  compressed.writeUInt16LE(8, directory + 10);
  writeFileSync(join(root, "compressed.pth"), compressed);
  assert.throws(() => readTorchFile(join(root, "compressed.pth")), /compressed or encrypted/);
  writeFileSync(join(root, "empty.pth"), "");
  assert.throws(() => readTorchFile(join(root, "empty.pth")), /empty\.pth: not a file of torch\.save/);
  assert.throws(() => readTorchFile(import.meta.filename), /not a file of torch\.save/);
});

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type Network, storedNetwork as openNetwork } from "../../../src/models/network.ts";
import { add } from "../../../src/onnx/operators.ts";
import { input } from "../../../src/onnx/value.ts";
import { PreparedCache } from "../../../workers/runtime/prepared.ts";
import { defaultBudget, Residents } from "../../../workers/runtime/residents.ts";
import { CPU } from "../../../workers/runtime/runtime.ts";

const folder = mkdtempSync(join(tmpdir(), "residents-"));
after(() => rmSync(folder, { recursive: true }));

/** A network said to be of `weightBytes`, with how often it was loaded. */
function network(weightBytes: number): Network & { loads: number } {
  const x = input("x", "float32", ["n"]);
  const checkpoint = { folder, tensors: new Map() };
  const plain = openNetwork(checkpoint, () => ({ inputs: [x], outputs: { y: add(x, x) } }));
  return {
    ...plain,
    weightBytes,
    loads: 0,
    graph(choices) {
      this.loads++;
      return plain.graph(choices);
    },
  };
}

const X = { x: { dims: [1], data: Float32Array.of(21) } };

async function run(residents: Residents, ...networks: Network[]): Promise<void> {
  for (const one of networks) {
    assert.deepEqual([...(await residents.runner(one)(X)).y!.data], [42]);
  }
}

const open = (budget: number) => new Residents(CPU, new PreparedCache(join(folder, "cache"), assert.fail), budget);

test("a network is loaded once while the budget holds it", async () => {
  const residents = open(100);
  const [a, b] = [network(50), network(50)];
  for (let generation = 0; generation < 3; generation++) {
    residents.beginGeneration();
    await run(residents, a, b, a);
  }
  assert.deepEqual([a.loads, b.loads], [1, 1]);
});

test("beyond the budget, what was used longest ago goes first", async () => {
  const residents = open(100);
  const [a, b, c] = [network(50), network(50), network(50)];
  for (const one of [a, b, a, c, a, b]) {
    residents.beginGeneration();
    await run(residents, one);
  }
  assert.deepEqual([a.loads, b.loads, c.loads], [1, 2, 1]);
});

test("what the running generation has used stays, even beyond the budget", async () => {
  const residents = open(60);
  const [a, b] = [network(50), network(50)];
  residents.beginGeneration();
  await run(residents, a, b, a, b, a);
  assert.deepEqual([a.loads, b.loads], [1, 1]);
});

test("what is loaded before it is run takes no other's place", async () => {
  const residents = open(100);
  const [a, b, c] = [network(60), network(50), network(40)];
  await run(residents, a);
  residents.beginGeneration();
  for (const one of [a, b, c]) await residents.load(one);
  assert.deepEqual([a.loads, b.loads, c.loads], [1, 0, 1]);
  assert.deepEqual([residents.has(a), residents.has(b), residents.has(c)], [true, false, true]);
});

test("unless it is told, it keeps half of the memory that there is; on a card, of the card's", () => {
  const bin = join(folder, "bin");
  mkdirSync(bin);
  const mebibytes = 1234;
  // Of two cards the second is the worker's.
  const tool = `#!/bin/sh\ncase "$*" in *--query-gpu=memory.total*--id=1*) echo ${mebibytes} ;; *) echo 9 ;; esac\n`;
  writeFileSync(join(bin, "nvidia-smi"), tool, { mode: 0o755 });
  const env = { PATH: bin, CUDA_VISIBLE_DEVICES: "1" };
  assert.equal(defaultBudget({ name: "cuda, float16" }, env), (mebibytes * 2 ** 20) / 2);
  const whole = defaultBudget({ name: "cpu" }, env);
  assert.ok(whole > 2 ** 29 && whole <= totalmem() / 2);
  assert.equal(defaultBudget({ name: "cuda" }, { PATH: join(folder, "nothing") }), whole);
});

import assert from "node:assert/strict";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openBase } from "../../../src/models/base.ts";
import { readCheckpoint } from "../../../src/models/checkpoint.ts";
import { convolution, linear, toTokens } from "../../../src/models/layers.ts";
import { storedNetwork as openNetwork } from "../../../src/models/network.ts";
import { input } from "../../../src/onnx/value.ts";
import { PreparedCache, prepareKey } from "../../../workers/runtime/prepared.ts";
import {
  bytesInMemory,
  CPU,
  CPU_INT8,
  openPrepared,
  openSession,
  type Session,
} from "../../../workers/runtime/runtime.ts";
import { writeFile } from "../../support/original.ts";

const root = mkdtempSync(join(tmpdir(), "prepared-"));
after(() => rmSync(root, { recursive: true }));
const checkpoint = join(root, "base");
cpSync(join(import.meta.dirname, "../../fixtures/sd15/base"), checkpoint, { recursive: true });

let folders = 0;
function cacheOf(bound?: number) {
  const folder = join(root, `cache-${folders++}`);
  const warnings: string[] = [];
  const cache = new PreparedCache(folder, (message) => warnings.push(message), bound);
  const entries = () => readdirSync(folder).sort();
  return { folder, cache, warnings, entries };
}

const vae = () => openBase(checkpoint).networks.vae_decoder;
const open = (cache: PreparedCache) => openPrepared(vae(), CPU, cache);

async function image(session: Session): Promise<Float32Array> {
  const latents = { dims: [1, 4, 4, 6], data: Float32Array.from({ length: 96 }, (_, i) => Math.sin(i)) };
  const { image } = await session.run({ latents });
  await session.release();
  return image!.data as Float32Array;
}

test("a network opened from the cache gives the bytes that it gives without, the first time and later", async () => {
  const { cache, entries } = cacheOf();
  const plain = await image(await openSession(vae().graph(), CPU));
  assert.deepEqual(await image(await open(cache)), plain);
  const [entry] = entries();
  const { mtimeMs } = statSync(join(root, "cache-0", entry!, "model.onnx"));
  assert.deepEqual(await image(await open(cache)), plain);
  assert.deepEqual(entries(), [entry]);
  assert.equal(statSync(join(root, "cache-0", entry!, "model.onnx")).mtimeMs, mtimeMs, "it was written again");
});

test("a text encoder opened from the cache gives the bytes that it gives without, and crashes nobody", async () => {
  const { network } = openBase(checkpoint).text[0]!;
  const feeds = {
    input_ids: { dims: [1, 77], data: BigInt64Array.from({ length: 77 }, (_, i) => BigInt(i)) },
    layer: { dims: [1], data: BigInt64Array.of(2n) },
    pooling: { dims: [1, 1, 77], data: new Float32Array(77) },
  };
  const [plain, prepared] = [
    await openSession(network.graph(CPU), CPU),
    await openPrepared(network, CPU, cacheOf().cache),
  ];
  assert.deepEqual((await prepared.run(feeds)).normed!.data, (await plain.run(feeds)).normed!.data);
  await Promise.all([plain.release(), prepared.release()]);
});

test("weights that are changed before they are used, a linear layer's and Winograd's, give the same bytes too", async () => {
  const shapes = {
    "conv.weight": [128, 128, 3, 3],
    "conv.bias": [128],
    "linear.weight": [64, 128],
    "linear.bias": [64],
  };
  const tensors = Object.entries(shapes).map(([name, shape]) => {
    const values = Float16Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i) / 10);
    return [name, { dtype: "F16", shape, bytes: new Uint8Array(values.buffer) }] as const;
  });
  const file = join(root, "layers.safetensors");
  writeFile(file, new Map(tensors));
  const layers = openNetwork(readCheckpoint(file), (w) => {
    const x = input("x", "float32", ["B", 128, "h", "w"]);
    return { inputs: [x], outputs: { y: linear(w.at("linear"), toTokens(convolution(w.at("conv"), x, 128)), 64) } };
  });
  const x = { dims: [1, 128, 8, 8], data: Float32Array.from({ length: 128 * 64 }, (_, i) => Math.cos(i)) };
  const [plain, prepared] = [
    await openSession(layers.graph(CPU), CPU),
    await openPrepared(layers, CPU, cacheOf().cache),
  ];
  assert.deepEqual((await prepared.run({ x })).y, (await plain.run({ x })).y);
  await Promise.all([plain.release(), prepared.release()]);
});

test("layers in 8 bits give the same bytes from the cache, and take a quarter of float32's memory", async (t) => {
  const SIZE = 384;
  const shapes = {
    "conv.weight": [SIZE, SIZE, 1, 1],
    "conv.bias": [SIZE],
    "linear.weight": [SIZE, SIZE],
    "linear.bias": [SIZE],
  };
  const tensors = Object.entries(shapes).map(([name, shape]) => {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * i) / 10);
    return [name, { dtype: "F32", shape, bytes: new Uint8Array(values.buffer) }] as const;
  });
  const file = join(root, "dense.safetensors");
  writeFile(file, new Map(tensors));
  const layers = openNetwork(readCheckpoint(file), (w) => {
    const x = input("x", "float32", ["B", SIZE, "h", "w"]);
    const tokens = toTokens(convolution(w.at("conv"), x, SIZE, 1, { dense: true }));
    return { inputs: [x], outputs: { y: linear(w.at("linear"), tokens, SIZE, { dense: true }) } };
  });
  const x = { dims: [1, SIZE, 5, 5], data: Float32Array.from({ length: SIZE * 25 }, (_, i) => Math.cos(i)) };
  const made = async (session: Session) => {
    const { y } = await session.run({ x });
    await session.release();
    return y!.data as Float32Array;
  };
  const { folder, cache, entries } = cacheOf();
  const plain = await made(await openSession(layers.graph(CPU_INT8), CPU_INT8));
  assert.deepEqual(await made(await openPrepared(layers, CPU_INT8, cache)), plain);
  assert.deepEqual(await made(await openPrepared(layers, CPU_INT8, cache)), plain);
  assert.notDeepEqual(await made(await openPrepared(layers, CPU, cache)), plain);
  const sizes = entries().map((entry) => statSync(join(folder, entry, "weights")).size);
  t.diagnostic(`bytes in the cache: ${sizes}; told: ${bytesInMemory(layers, CPU_INT8)}, ${bytesInMemory(layers, CPU)}`);
  assert.ok(Math.min(...sizes) < 0.4 * Math.max(...sizes));
  assert.ok(bytesInMemory(layers, CPU_INT8) < 0.27 * bytesInMemory(layers, CPU));
});

test("two workers that prepare the same network at once both get it", async () => {
  const { cache, entries, warnings } = cacheOf();
  const [one, other] = await Promise.all([open(cache), open(cache)]);
  assert.deepEqual(await image(one), await image(other));
  assert.equal(entries().length, 1);
  assert.deepEqual(warnings, []);
});

test("a damaged entry is made anew", async (t) => {
  const damage: Record<string, (entry: string) => void> = {
    "cut short": (entry) => truncateSync(join(entry, "model.onnx"), 100),
    "not a model": (entry) => {
      const file = join(entry, "model.onnx");
      writeFileSync(file, Buffer.alloc(statSync(file).size, 7));
    },
    "a file missing": (entry) => rmSync(join(entry, "model.onnx")),
    "never finished": (entry) => rmSync(join(entry, "sizes.json")),
  };
  for (const [what, spoil] of Object.entries(damage)) {
    await t.test(what, async () => {
      const { folder, cache, entries, warnings } = cacheOf();
      const before = await image(await open(cache));
      spoil(join(folder, entries()[0]!));
      assert.deepEqual(await image(await open(cache)), before);
      assert.deepEqual(warnings, []);
      assert.ok(statSync(join(folder, entries()[0]!, "model.onnx")).size > 100);
    });
  }
});

test("another file of weights, or another runtime, is another entry", async () => {
  const key = () => prepareKey(vae().graph(), "runtime 1");
  const before = await key();
  assert.equal(await key(), before);
  assert.notEqual(await prepareKey(vae().graph(), "runtime 2"), before);
  writeFileSync(join(checkpoint, "vae/another.safetensors"), "a file that the graph does not name");
  assert.equal(await key(), before);
  utimesSync(join(checkpoint, "vae/diffusion_pytorch_model.safetensors"), new Date(), new Date());
  assert.notEqual(await key(), before);
});

test("what was used longest ago goes when the bound is reached, and what a dead process left behind", async () => {
  const { folder, cache, entries, warnings } = cacheOf(1000);
  const make = (key: string, bytes: number) =>
    cache.entry(key, bytes, async (to) => writeFileSync(join(to, "weights"), Buffer.alloc(bytes)));
  await make("a", 300);
  await make("b", 300);
  utimesSync(join(folder, "a"), 1000, 1000);
  utimesSync(join(folder, "b"), 2000, 2000);
  await make("a", 300); // used again: now b is the oldest
  mkdirSync(join(folder, "tmp-dead"));
  writeFileSync(join(folder, "tmp-dead", "weights"), Buffer.alloc(300));
  utimesSync(join(folder, "tmp-dead"), 500, 500);
  await make("c", 500);
  assert.deepEqual(entries(), ["a", "c"]);
  assert.deepEqual(warnings, []);
});

test("a network that is too large for the bound, or for the disk, is not kept, and its reason is told", async () => {
  const { cache, entries, warnings } = cacheOf(1000);
  const write = async (to: string) => {
    writeFileSync(join(to, "weights"), "a part");
    throw new Error("ENOSPC: no space left on device");
  };
  assert.equal(await cache.entry("a", 2000, write), null);
  assert.equal(await cache.entry("a", 10, write), null);
  assert.deepEqual(entries(), []);
  assert.match(warnings[0]!, /2000 bytes exceed the bound of 1000/);
  assert.match(warnings[1]!, /no space left/);

  const tiny = cacheOf(1000);
  assert.deepEqual(await image(await open(tiny.cache)), await image(await openSession(vae().graph(), CPU)));
  assert.equal(tiny.warnings.length, 1);
});

test("a folder that cannot be made costs the cache, not the generation", async () => {
  const file = join(root, "file");
  writeFileSync(file, "");
  const warnings: string[] = [];
  const cache = new PreparedCache(join(file, "cache"), (message) => warnings.push(message));
  await (await open(cache)).release();
  assert.equal(warnings.length, 1);
});

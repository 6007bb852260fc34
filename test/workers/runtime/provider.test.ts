import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { decodeState, encodeState } from "../../../workers/generate/saved-state.ts";
import { bringing, findLibraries, librariesNeeded } from "../../../workers/runtime/cuda.ts";
import { cardsOf } from "../../../workers/runtime/gpu.ts";
import { chooseProvider } from "../../../workers/runtime/provider.ts";
import { CPU, CPU_INT8 } from "../../../workers/runtime/runtime.ts";
import { temporaryFolder } from "../../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

test("auto without CUDA is on the CPU, and says why", async () => {
  const { provider, reason } = await chooseProvider("auto");
  assert.equal(provider.name, "cpu");
  assert.match(reason!, /CUDA package is not installed: npm start -- --gpu installs it|is missing: apt-get install/);
});

test("a provider that is named and does not work is refused with the reason", async () => {
  await assert.rejects(chooseProvider("cuda"), /EXECUTION_PROVIDER=cuda does not work on this machine: \S+/);
});

test("8 bits are the CPU's alone, and another worker's arithmetic", async () => {
  const { provider, reason } = await chooseProvider("auto", "int8");
  assert.deepEqual([provider, reason], [CPU_INT8, null]);
  assert.equal((await chooseProvider("cpu", "int8")).provider, CPU_INT8);
  await assert.rejects(chooseProvider("cuda", "int8"), /PRECISION=int8 .*EXECUTION_PROVIDER=cuda must be cpu or auto/);
  const saved = encodeState({ step: 3, pictures: [] }, CPU.name);
  assert.equal(decodeState(saved, CPU.name)?.step, 3);
  assert.equal(decodeState(saved, CPU_INT8.name), undefined, "a generation that float32 began is begun anew");
});

test("half precision is the accelerators' alone: without one a worker does not start, and says why", async () => {
  await assert.rejects(
    chooseProvider("cpu", "float16"),
    /PRECISION=float16 is for accelerators: EXECUTION_PROVIDER=cpu/,
  );
  await assert.rejects(chooseProvider("auto", "float16"), /PRECISION=float16 needs an accelerator: .*CUDA|missing/);
});

test("what a provider's file needs is found where CUDA and Python put it, and what is missing is named", async () => {
  const folder = await temporaryFolder(stack);
  const file = join(folder, "provider.so");
  // A name may lie across the border of two pieces that are read.
  const names = ["libcublasLt.so.13", "libcudnn.so.9", "libcufft.so.12"];
  writeFileSync(file, Buffer.concat([Buffer.alloc(2 ** 22 - 5), Buffer.from(`\0${names.join("\0")}\0libm.so.6\0`)]));
  const needed = await librariesNeeded(file);
  assert.deepEqual(needed, names);

  const cuda = join(folder, "cuda/lib64");
  const python = join(folder, "venv/lib/python3.12/site-packages/nvidia/cudnn/lib");
  for (const [place, name] of [
    [cuda, "libcublasLt.so.13"],
    [python, "libcudnn.so.9"],
  ] as const) {
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, name), "");
  }
  const env = { CUDA_HOME: join(folder, "cuda"), VIRTUAL_ENV: join(folder, "venv") };
  const { missing, folders } = findLibraries(needed, env);
  assert.deepEqual(missing, ["libcufft.so.12"]);
  assert.deepEqual([...folders].sort(), [cuda, python].sort());
  assert.equal(bringing("libcufft.so.12", ["libcublasLt.so.13"]), "apt-get install cuda-libraries-13-0");
  assert.equal(bringing("libcudnn.so.9", ["libcublasLt.so.13"]), "apt-get install libcudnn9-cuda-13");
});

test("each card of GPU_DEVICES has a worker of its own", () => {
  assert.deepEqual(cardsOf("0, 2"), [{ CUDA_VISIBLE_DEVICES: "0" }, { CUDA_VISIBLE_DEVICES: "2" }]);
  assert.deepEqual(cardsOf(undefined), [{}]);
});

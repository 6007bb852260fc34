import assert from "node:assert/strict";
import { join } from "node:path";
import { suite, test } from "node:test";
import { loadControlNet, loadModel, type Runner } from "../../../src/diffusion/load.ts";
import type { Run } from "../../../src/diffusion/model.ts";
import { prepare } from "../../../src/diffusion/pipeline.ts";
import { hint } from "../../../src/image/hint.ts";
import { openBase, openControlNet } from "../../../src/models/base.ts";
import { type Network, storedNetwork as openNetwork } from "../../../src/models/network.ts";
import type { Tensor } from "../../../src/onnx/tensor.ts";
import { Memo } from "../../../workers/runtime/memo.ts";
import { readImage, request, runner, SD15 } from "../../support/tiny.ts";

const network = () => openNetwork({ folder: "", tensors: new Map() }, () => ({ inputs: [], outputs: {} }));
const ids = (...values: number[]): Tensor => ({ dims: [1, values.length], data: BigInt64Array.from(values, BigInt) });

/** A run that counts its calls and answers 100 bytes. */
function counted(): { run: Run; calls: () => number } {
  let calls = 0;
  const run: Run = async () => ({ hidden: { dims: [25], data: new Float32Array(25).fill(++calls) } });
  return { run, calls: () => calls };
}

suite("memo", () => {
  test("runs a network once for the same feeds, however often and in whatever memory they come", async () => {
    const { run, calls } = counted();
    const memoized = new Memo(1000).memoize(network(), run);
    const first = await memoized({ input_ids: ids(1, 2, 3) });
    const { data } = ids(9, 1, 2, 3);
    const again = await memoized({ input_ids: { dims: [1, 3], data: data.subarray(1) } });
    assert.deepEqual(again, first);
    assert.equal(calls(), 1);
  });

  test("tells feeds apart by values, shape and name", async () => {
    const { run, calls } = counted();
    const memoized = new Memo(1000).memoize(network(), run);
    const { data } = ids(1, 2, 3, 4);
    await memoized({ input_ids: { dims: [1, 4], data } });
    await memoized({ input_ids: { dims: [2, 2], data } });
    await memoized({ other: { dims: [1, 4], data } });
    await memoized({ input_ids: ids(1, 2, 3, 5) });
    assert.equal(calls(), 4);
  });

  test("tells networks apart, but not two runs of one network", async () => {
    const memo = new Memo(1000);
    const { run, calls } = counted();
    const one = network();
    await memo.memoize(one, run)({ input_ids: ids(1) });
    await memo.memoize(one, run)({ input_ids: ids(1) });
    assert.equal(calls(), 1);
    await memo.memoize(network(), run)({ input_ids: ids(1) });
    assert.equal(calls(), 2);
  });

  test("keeps no more bytes than its bound, over all networks, and forgets what was asked for longest ago", async () => {
    const memo = new Memo(250); // two outputs of 100 bytes
    const { run, calls } = counted();
    const [a, b] = [memo.memoize(network(), run), memo.memoize(network(), run)];
    await a({ input_ids: ids(1) });
    await b({ input_ids: ids(2) });
    await a({ input_ids: ids(1) });
    await a({ input_ids: ids(3) }); // b's goes
    assert.equal(calls(), 3);
    await a({ input_ids: ids(1) });
    await a({ input_ids: ids(3) });
    assert.equal(calls(), 3);
    await b({ input_ids: ids(2) });
    assert.equal(calls(), 4);
  });

  test("gives what is larger than the bound and does not keep it", async () => {
    const { run, calls } = counted();
    const memoized = new Memo(99).memoize(network(), run);
    await memoized({ input_ids: ids(1) });
    await memoized({ input_ids: ids(1) });
    assert.equal(calls(), 2);
  });

  test("remembers no failure", async () => {
    let calls = 0;
    const memoized = new Memo(1000).memoize(network(), async () => {
      if (++calls === 1) throw new Error("out of memory");
      return {};
    });
    await assert.rejects(memoized({ input_ids: ids(1) }), /out of memory/);
    assert.deepEqual(await memoized({ input_ids: ids(1) }), {});
  });

  test("spares a request the encoders for the prompts and control images that an earlier one had", async () => {
    const base = openBase(join(SD15, "base"));
    const canny = openControlNet(join(SD15, "controlnets/canny"));
    const runs = new Map<Network, number>();
    const counting: Runner = (network) => {
      const run = runner(network);
      return (feeds) => {
        runs.set(network, (runs.get(network) ?? 0) + 1);
        return run(feeds);
      };
    };
    const memo = new Memo(2 ** 20);
    const remembering: Runner = (network) => memo.memoize(network, counting(network));
    const [model, controlnet] = [
      loadModel(base, counting, remembering),
      loadControlNet(canny, counting, remembering),
    ] as const;
    const ask = async (image: string, fields: object) => {
      const hints = [[() => readImage(image, hint)]];
      await prepare(request(fields, [{}]), model, [controlnet], { hints, masks: [null], source: null });
      return { prompts: runs.get(base.text[0]!.network), hints: runs.get(canny.networks.hint) };
    };
    const [canny_0, depth_1] = ["canny_depth/control_0.png", "canny_depth/control_1.png"] as const;
    assert.deepEqual(await ask(canny_0, { prompt: "a house" }), { prompts: 2, hints: 1 }); // and the empty prompt
    assert.deepEqual(await ask(canny_0, { prompt: "a house", seed: 8 }), { prompts: 2, hints: 1 });
    assert.deepEqual(await ask(canny_0, { prompt: "a barn" }), { prompts: 3, hints: 1 });
    assert.deepEqual(await ask(depth_1, { prompt: "a barn" }), { prompts: 3, hints: 2 });
  });
});

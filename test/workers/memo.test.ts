import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Run } from "../../src/diffusion/model.ts";
import { network as openNetwork } from "../../src/models/base.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { Memo } from "../../workers/memo.ts";

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
});

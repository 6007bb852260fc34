import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { noFeatures } from "../../src/diffusion/adapters/t2i-adapters.ts";
import { noResiduals } from "../../src/diffusion/control.ts";
import { openBase } from "../../src/models/base.ts";
import { grafted } from "../../src/models/grafted.ts";
import { namedLayers } from "../../src/models/lora/layers.ts";
import { deepOutput, maxBranch } from "../../src/models/shallow.ts";
import { type Graft, GraftError, graft } from "../../src/onnx/graft.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { PreparedCache } from "../../workers/runtime/prepared.ts";
import { CPU, CPU_INT8, openPrepared, openSession, type Provider } from "../../workers/runtime/runtime.ts";
import { HALF, QUICK } from "../support/tiny.ts";

const folder = mkdtempSync(join(tmpdir(), "graft-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const cache = new PreparedCache(folder, () => {}, 1e9);

const base = openBase(join(import.meta.dirname, "../fixtures/sd15/base"));
const wave = (dims: number[], size: number): Tensor => ({
  dims,
  data: Float32Array.from(
    { length: dims.reduce((a, b) => a * b, 1) },
    (_, i) => size * Math.sin(12.9898 * i + 0.001 * i * i),
  ),
});
const feeds = {
  sample: wave([2, 4, 8, 8], 1),
  timestep: { dims: [2], data: Float32Array.of(500, 500) },
  encoder_hidden_states: wave([2, 77, base.unet.cross_attention_dim], 1),
  ...noResiduals(base.unet),
  ...noFeatures(base.unet),
};
const layers = [...namedLayers(base.networks.unet).values()];
const RANK = 3;

/** The same change of every layer, as two factors or as their product. */
function changes(kind: "low_rank" | "whole"): { grafts: Graft[]; added: Record<string, Tensor> } {
  const added: Record<string, Tensor> = {};
  const grafts = layers.map(({ place, weight }): Graft => {
    const [out, inner, ...kernel] = weight.shape as [number, number, ...number[]];
    const [down, up] = [wave([RANK, inner, ...kernel], 0.05), wave([out, RANK, ...kernel.map(() => 1)], 0.05)];
    const row = down.data.length / RANK;
    const whole = Float32Array.from({ length: out * row }, (_, i) =>
      [0, 1, 2].reduce(
        (sum, r) => sum + Number(up.data[Math.floor(i / row) * RANK + r]) * Number(down.data[r * row + (i % row)]),
        0,
      ),
    );
    Object.assign(
      added,
      kind === "whole"
        ? { [`${place}:whole`]: { dims: [out, inner, ...kernel], data: whole } }
        : { [`${place}:down`]: down, [`${place}:up`]: up },
    );
    return { kind, at: place, channels: inner };
  });
  return { grafts, added };
}

/** On the prepared network, or on the graph as it is built. */
async function run(
  grafts: readonly Graft[],
  added: Record<string, Tensor>,
  prepared = true,
  provider: Provider = prepared ? CPU : QUICK,
): Promise<Float32Array> {
  const network = grafted(base.networks.unet, grafts);
  const session = prepared
    ? await openPrepared(network, provider, cache)
    : await openSession(network.graph(provider), provider);
  const { out } = await session.run({ ...feeds, ...added });
  await session.release();
  return out!.data as Float32Array;
}

const largest = (a: Float32Array, b: Float32Array) =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);

test("every layer of a prepared U-Net can be added to: factors, their product and the graph as built agree", async (t) => {
  const low = changes("low_rank");
  const whole = changes("whole");
  const plain = await run([], {});
  const factored = await run(low.grafts, low.added);
  const multiplied = await run(whole.grafts, whole.added);
  const unprepared = await run(low.grafts, low.added, false);
  assert.ok(layers.length > 250);
  t.diagnostic(`${layers.length} layers; without ${largest(factored, plain).toExponential(1)}`);
  assert.ok(largest(factored, plain) > 1e-2, "the additions add something");
  assert.ok(largest(factored, multiplied) < 1e-5);
  assert.ok(largest(factored, unprepared) < 1e-5);
});

for (const [what, prepared, provider] of [
  ["in 8 bits", true, CPU_INT8],
  ["in half precision", false, HALF],
] as const) {
  test(`every layer of a U-Net ${what} can be added to, and what is added stays exact`, async (t) => {
    await addedTo(t, (grafts, added) => run(grafts, added, prepared, provider), provider.half ? 5e-3 : 0.1);
  });
}

/** Holds additions to all layers of a U-Net in another precision against those to the exact one; `bound` is of the largest value. */
async function addedTo(
  t: { diagnostic(line: string): void },
  other: (grafts: readonly Graft[], added: Record<string, Tensor>) => Promise<Float32Array>,
  bound: number,
): Promise<void> {
  const { grafts, added } = changes("low_rank");
  const shifts = layers.map(
    ({ place, weight }): Graft => ({ kind: "shift", at: place, channels: weight.shape[0] as number }),
  );
  const values = layers.map(({ place, weight: { shape } }) => {
    const size = shape[0] as number;
    return [`${place}:shift`, wave(shape.length === 4 ? [size, 1, 1] : [size], 0.05)] as const;
  });
  const all = { grafts: [...grafts, ...shifts], added: { ...added, ...Object.fromEntries(values) } };
  const [exact, near, plain] = [
    await run(all.grafts, all.added),
    await other(all.grafts, all.added),
    await other([], {}),
  ];
  const size = exact.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  t.diagnostic(
    `of ${size.toFixed(2)}: ${largest(near, exact).toFixed(4)} off, ${largest(near, plain).toFixed(2)} from without`,
  );
  assert.ok(largest(near, exact) < bound * size);
  assert.ok(largest(near, plain) > 0.3 * size);
}

test("a shift of a linear layer and of convolutions in either layout is the bias's change", async () => {
  const places = ["conv_in", "out", "mid_block.resnets.0.conv1", "time_embedding.linear_1"];
  const shifted = layers.filter(({ place }) => places.includes(place));
  const shapes = shifted.map(({ place, weight }) => ({
    place,
    size: weight.shape[0] as number,
    axes: weight.shape.length,
  }));
  const grafts = shapes.map(({ place, size }): Graft => ({ kind: "shift", at: place, channels: size }));
  const added = Object.fromEntries(
    shapes.map(({ place, size, axes }) => [`${place}:shift`, wave(axes === 4 ? [size, 1, 1] : [size], 0.3)]),
  );
  assert.equal(grafts.length, places.length);
  const made = await run(grafts, added);
  assert.ok(largest(made, await run(grafts, added, false)) < 1e-5);
  assert.ok(largest(made, await run([], {})) > 1e-2);
});

test("what comes to each up layer from below is told by the prepared U-Net as by the graph as built", async () => {
  for (const branch of [0, maxBranch(base.unet)]) {
    const network = grafted(base.networks.unet, [deepOutput(base.unet, branch)]);
    const told = [await openPrepared(network, CPU, cache), await openSession(network.graph(QUICK), QUICK)].map(
      async (session) => (await session.run(feeds)).deep!.data as Float32Array,
    );
    const [prepared, built] = await Promise.all(told);
    assert.ok(
      largest(prepared!, built!) <
        1e-4 *
          largest(
            built!,
            built!.map(() => 0),
          ),
      `branch ${branch}`,
    );
  }
});

test("a place that the graph does not have is named", () => {
  const { bytes } = base.networks.unet.graph(CPU);
  assert.throws(() => graft(bytes, [{ kind: "whole", at: "nowhere", channels: 4 }]), GraftError);
  assert.throws(() => graft(bytes, [{ kind: "whole", at: "nowhere", channels: 4 }]), /"nowhere"/);
});

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { covariance, EigenvalueDecomposition, Matrix } from "ml-matrix";
import { LATENTS, writeConfigs } from "../../demo/configs.ts";
import { evenLatents } from "../../demo/latents.ts";
import { mean } from "../../demo/measures.ts";
import { render } from "../../demo/world/render.ts";
import { scene } from "../../demo/world/scene.ts";
import { sample } from "../../src/image/hint.ts";
import { findCheckpoint, readJson } from "../../src/models/checkpoint.ts";
import { storedNetwork } from "../../src/models/network.ts";
import { vaeDecoder, vaeEncoder } from "../../src/models/vae.ts";
import { initialize, vaeShapes } from "../../src/training/initialize.ts";
import { CPU, openSession } from "../../workers/runtime/runtime.ts";
import { readVae, STEM, writeComponent } from "../../workers/train/components.ts";

const base = mkdtempSync(join(tmpdir(), "latents-"));
after(() => rmSync(base, { recursive: true }));

const pictures = await Promise.all([0, 1, 2, 3].map((seed) => render(scene(seed))));

/** The latents' means [C][cells] of all pictures, and the pictures that they become again. */
async function throughVae() {
  const config = readVae(base);
  const stored = findCheckpoint(join(base, "vae"), STEM.vae);
  const encoder = await openSession(storedNetwork(stored, (weights) => vaeEncoder(weights, config)).graph(), CPU);
  const decoder = await openSession(storedNetwork(stored, (weights) => vaeDecoder(weights, config)).graph(), CPU);
  const [latents, again]: [number[][], Float32Array[]] = [Array.from({ length: config.latent_channels }, () => []), []];
  for (const picture of pictures) {
    const image = { dims: [1, 3, picture.height, picture.width], data: sample(picture) };
    const { dims, data } = (await encoder.run({ image })).moments!;
    const cells = dims[2]! * dims[3]!;
    const means = (data as Float32Array).slice(0, latents.length * cells);
    for (const [c, channel] of latents.entries()) channel.push(...means.subarray(c * cells, (c + 1) * cells));
    const made = await decoder.run({ latents: { dims: [1, latents.length, dims[2]!, dims[3]!], data: means } });
    again.push((made.image!.data as Float32Array).slice());
  }
  await encoder.release();
  await decoder.release();
  return { latents, again };
}

test("latents that differ along four directions alone lose nothing by being kept in four channels, and become more alike in size", async () => {
  writeConfigs(base, 100);
  const fresh = initialize(vaeShapes(readVae(base)), 1);
  // Channels from the fifth on become nothing, as if the encoder had no use for them.
  const weight = fresh.tensors.get("quant_conv.weight")!;
  weight.data.fill(0, LATENTS * weight.dims[1]!, readVae(base).latent_channels * weight.dims[1]!);
  fresh.tensors.get("quant_conv.bias")!.data.fill(0, LATENTS, readVae(base).latent_channels);
  // Where a picture ends, constants that none of the four reaches are padded with 0 before and are a bias after.
  fresh.tensors.get("post_quant_conv.bias")!.data.fill(0);
  const write = () =>
    writeComponent(join(base, "vae"), STEM.vae, readJson(join(base, "vae/config.json")), fresh.tensors, "F32");
  write();
  // What an encoder without training makes is nearly the same everywhere: its means become no larger than its deviations.
  for (const [c, channel] of (await throughVae()).latents.slice(0, LATENTS).entries()) {
    const middle = mean(channel);
    const deviation = Math.sqrt(mean(channel.map((value) => (value - middle) ** 2)));
    fresh.tensors.get("quant_conv.bias")!.data[c]! += deviation - middle;
  }
  write();
  const before = await throughVae();
  await evenLatents(base, async () => pictures, LATENTS);
  const { latents, again } = await throughVae();

  assert.equal(latents.length, LATENTS);
  const directions = new EigenvalueDecomposition(covariance(new Matrix(before.latents.slice(0, LATENTS)).transpose()), {
    assumeSymmetric: true,
  });
  const spread = (variances: readonly number[]) => Math.sqrt(Math.max(...variances) / Math.min(...variances));
  const squares = latents.map((channel) => mean(channel.map((value) => value ** 2)));
  assert.ok(Math.abs(mean(squares) - 1) < 0.01, `mean square ${mean(squares)}`);
  const [was, is] = [spread(directions.realEigenvalues), spread(squares)];
  assert.ok(Math.abs(is - Math.sqrt(was)) < 0.02 * is, `the largest was ${was} of the smallest, and is ${is}`);
  for (const [a, first] of latents.entries()) {
    assert.ok(Math.abs(mean(first)) < 0.01, `channel ${a} has the mean ${mean(first)}`);
    for (const [b, second] of latents.slice(0, a).entries()) {
      const product = mean(first.map((value, i) => value * second[i]!)) / Math.sqrt(squares[a]! * squares[b]!);
      assert.ok(Math.abs(product) < 0.01, `channels ${a} and ${b} go together: ${product}`);
    }
  }
  for (const [i, picture] of again.entries()) {
    const wanted = before.again[i]!;
    const size = Math.sqrt(mean([...wanted].map((value) => value ** 2)));
    const error = Math.sqrt(mean([...picture].map((value, p) => (value - wanted[p]!) ** 2)));
    assert.ok(error < 0.01 * size, `picture ${i} is ${error / size} off`);
  }
});

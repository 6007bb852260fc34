/**
 * The demo VAE's latents in fewer numbers a cell: their first principal components, more alike in size. The U-Net meets all
 * of them under noise of one strength, in which what differs little drowns; and what does not matter takes its strength for nothing.
 * A change of basis, which the convolutions on both sides of the latents take up.
 */
import { join } from "node:path";
import { covariance, EigenvalueDecomposition, Matrix, solve } from "ml-matrix";
import { sample } from "../src/image/hint.ts";
import type { Pixels } from "../src/image/pixels.ts";
import { findCheckpoint, readJson } from "../src/models/checkpoint.ts";
import { storedNetwork } from "../src/models/network.ts";
import { vaeEncoder } from "../src/models/vae.ts";
import { type Block, block } from "../src/training/parameters.ts";
import { readParameters } from "../src/training/stored.ts";
import { CPU, openSession } from "../workers/runtime/runtime.ts";
import { readVae, STEM, writeComponent } from "../workers/train/components.ts";

/** Standard deviations become their roots: 1 to 7 becomes 1 to 2.6, still with the coarse before the fine. */
const EVENNESS = 0.5;

/** What an encoder makes of pictures. */
interface Moments {
  /** [cells, C] */
  readonly means: Matrix;
  /** Of each channel, over all cells. */
  readonly variances: readonly number[];
}

async function momentsOf(base: string, pictures: readonly Pixels[]): Promise<Moments> {
  const config = readVae(base);
  const stored = findCheckpoint(join(base, "vae"), STEM.vae);
  const session = await openSession(storedNetwork(stored, (weights) => vaeEncoder(weights, config)).graph(), CPU);
  const channels = config.latent_channels;
  const rows: number[][] = [];
  const variances = Array<number>(channels).fill(0);
  for (const picture of pictures) {
    const image = { dims: [1, 3, picture.height, picture.width], data: sample(picture) };
    const moments = (await session.run({ image })).moments!.data as Float32Array;
    const cells = moments.length / (2 * channels);
    for (let cell = 0; cell < cells; cell++) {
      rows.push(variances.map((_, c) => moments[c * cells + cell]!));
      for (let c = 0; c < channels; c++) {
        variances[c]! += Math.exp(moments[(channels + c) * cells + cell]!);
      }
    }
  }
  await session.release();
  return { means: new Matrix(rows), variances: variances.map((sum) => sum / rows.length) };
}

/** The `keep` directions of most variance: [keep, C] to their coordinates, each of its new size, and [C, keep] back. */
function basis(means: Matrix, keep: number): { to: Matrix; back: Matrix } {
  const { eigenvectorMatrix, realEigenvalues } = new EigenvalueDecomposition(covariance(means), {
    assumeSymmetric: true,
  });
  const strongest = realEigenvalues.map((_, i) => i).sort((a, b) => realEigenvalues[b]! - realEigenvalues[a]!);
  const kept = strongest.slice(0, keep);
  const directions = eigenvectorMatrix.subMatrixColumn(kept);
  const sizes = kept.map((i) => Math.sqrt(realEigenvalues[i]!));
  const evened = sizes.map((size) => size ** EVENNESS);
  const mean = Math.sqrt(evened.reduce((sum, size) => sum + size * size, 0) / keep);
  const factors = sizes.map((size, i) => evened[i]! / mean / size);
  return {
    to: Matrix.diag(factors).mmul(directions.transpose()),
    back: directions.mmul(Matrix.diag(factors.map((factor) => 1 / factor))),
  };
}

type Named = ReadonlyMap<string, readonly [readonly number[], Matrix]>;

/** The convolutions before and after the latents that take up the change, by their names and shapes. */
function convolutions({ tensors }: Block, { means, variances }: Moments, keep: number): Named {
  const channels = variances.length;
  const read = (name: string, rows: number) => {
    const { data } = tensors.get(name)!;
    return Matrix.from1DArray(rows, data.length / rows, data);
  };
  const { to, back } = basis(means, keep);
  const middle = Matrix.columnVector(means.mean("column"));

  const out = read("encoder.conv_out.weight", 2 * channels);
  const [width, taps] = [tensors.get("encoder.conv_out.weight")!.dims[1]!, 9];
  const quant = read("quant_conv.weight", 2 * channels).subMatrix(0, channels - 1, 0, 2 * channels - 1);
  const quantBias = read("quant_conv.bias", 2 * channels).subMatrix(0, channels - 1, 0, 0);
  const bias = quant
    .mmul(read("encoder.conv_out.bias", 2 * channels))
    .add(quantBias)
    .sub(middle);
  // What is drawn around the mean is next to nothing: its size may be the same everywhere.
  const drawn = Matrix.pow(to, 2).mmul(Matrix.columnVector([...variances]));
  const logarithms = Matrix.columnVector(drawn.to1DArray().map(Math.log));

  const post = read("post_quant_conv.weight", channels);
  const span = post.mmul(back);
  const constant = post.mmul(middle).add(read("post_quant_conv.bias", channels));
  // As much of the constant as the kept directions reach passes where the picture's border is padded with 0; the rest adds to a bias.
  const within = solve(span, constant);
  const rest = Matrix.sub(constant, span.mmul(within));
  const { data, dims } = tensors.get("decoder.conv_in.weight")!;
  const inner = Array.from({ length: dims[0]! }, (_, o) =>
    Matrix.from1DArray(channels, taps, data.subarray(o * channels * taps, (o + 1) * channels * taps)),
  );
  const added = inner.map((kernel) => rest.transpose().mmul(kernel).sum());

  return new Map<string, readonly [readonly number[], Matrix]>([
    [
      "encoder.conv_out.weight",
      [[2 * keep, width, 3, 3], stacked(to.mmul(quant.mmul(out)), Matrix.zeros(keep, width * taps))],
    ],
    ["encoder.conv_out.bias", [[2 * keep], stacked(to.mmul(bias), logarithms)]],
    ["quant_conv.weight", [[2 * keep, 2 * keep, 1, 1], Matrix.eye(2 * keep)]],
    ["quant_conv.bias", [[2 * keep], Matrix.zeros(2 * keep, 1)]],
    ["post_quant_conv.weight", [[keep, keep, 1, 1], Matrix.eye(keep)]],
    ["post_quant_conv.bias", [[keep], within]],
    [
      "decoder.conv_in.weight",
      [[dims[0]!, keep, 3, 3], inner.map((kernel) => span.transpose().mmul(kernel)).reduce(stacked)],
    ],
    ["decoder.conv_in.bias", [[dims[0]!], read("decoder.conv_in.bias", dims[0]!).add(Matrix.columnVector(added))]],
  ]);
}

function stacked(above: Matrix, below: Matrix): Matrix {
  return new Matrix([...above.to2DArray(), ...below.to2DArray()]);
}

/** Rewrites the VAE of a base's folder so that it has `keep` latent channels; nothing happens when it has them already. */
export async function evenLatents(
  base: string,
  pictures: () => Promise<readonly Pixels[]>,
  keep: number,
): Promise<void> {
  const folder = join(base, "vae");
  if (readVae(base).latent_channels === keep) return;
  const parameters = readParameters(findCheckpoint(folder, STEM.vae));
  const changed = convolutions(parameters, await momentsOf(base, await pictures()), keep);
  const shapes = [...parameters.tensors].map(([name, { dims }]) => [name, changed.get(name)?.[0] ?? dims] as const);
  const made = block(new Map(shapes));
  for (const [name, { data }] of made.tensors) {
    data.set(changed.get(name)?.[1].to1DArray() ?? parameters.tensors.get(name)!.data);
  }
  const config = { ...readJson(join(folder, "config.json")), latent_channels: keep, scaling_factor: 1 };
  writeComponent(folder, STEM.vae, config, made.tensors, "F16");
}

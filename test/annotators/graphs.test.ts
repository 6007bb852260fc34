/** Networks built from the weights that their authors published, against torch (fixtures/make/annotator-networks.py). */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { relative } from "../../check/modules.ts";
import { readTensors } from "../../check/tensors.ts";
import { openAnnotatorFolder } from "../../src/annotators/folder.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { CPU, openSession } from "../../workers/runtime/runtime.ts";

const WEIGHTS = join(import.meta.dirname, "../fixtures/annotators/weights");
const expected = readTensors(join(WEIGHTS, "expected.safetensors"));
const root = mkdtempSync(join(tmpdir(), "graphs-"));
after(() => rmSync(root, { recursive: true }));

/** As the script draws it, times `factor` plus `shift`. */
function picture([channels, height, width]: [number, number, number], factor: number, shift: number): Tensor {
  const data = Float32Array.from({ length: channels * height * width }, (_, i) => {
    const [c, y, x] = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
    return Math.fround(
      Math.fround(Math.fround(((c * 7 + y * 13 + x * 29 + Math.floor((x * y) / 5)) % 61) / 60) * factor) + shift,
    );
  });
  return { dims: [1, channels, height, width], data };
}

/** Every `step`th row and column of an output. */
function every(step: number, { dims, data }: Tensor): Tensor {
  const [, channels, height, width] = dims as [number, number, number, number];
  const kept = (data as Float32Array).filter(
    (_, i) => (Math.floor(i / width) % height) % step === 0 && (i % width) % step === 0,
  );
  return { dims: [1, channels, Math.ceil(height / step), Math.ceil(width / step)], data: kept };
}

const cases = {
  hed: { file: "ControlNetHED.pth", seen: picture([3, 61, 90], 255, 0), step: 4 },
  pidinet: { file: "table5_pidinet.pth", seen: picture([3, 61, 90], 1, 0), step: 4 },
  lineart: { file: "sk_model.pth", seen: picture([3, 61, 90], 1, 0), step: 4 },
  lineart_anime: { file: "netG.pth", seen: picture([3, 256, 512], 2, -1), step: 16 },
  mlsd: { file: "mlsd_large_512_fp32.pth", seen: picture([4, 64, 96], 2, -1), step: 2 },
};

for (const [kind, { file, seen, step }] of Object.entries(cases))
  test(`${file} is recognised by its name and computes as in torch`, async (t) => {
    const dir = join(root, `any-${kind}`);
    mkdirSync(dir);
    cpSync(join(WEIGHTS, file), join(dir, file));
    const folder = openAnnotatorFolder(dir);
    assert.equal(folder.kind, kind);
    const session = await openSession(folder.networks.model!.graph(), CPU);
    const outputs = await session.run({ image: seen });
    await session.release();
    for (const { name } of folder.networks.model!.outputs) {
      const wanted = expected.get(`${kind}.${name}`)!;
      const own =
        name.startsWith("projection") && name !== "projection1" ? outputs[name]! : every(step, outputs[name]!);
      assert.deepEqual([...own.dims], [...wanted.dims], name);
      const error = relative(own, wanted);
      t.diagnostic(`${name}: ${error.toExponential(1)} relative`);
      assert.ok(error < 1e-4, `${name}: ${error}`);
    }
  });

/** What a single file says of what it predicts: in its metadata, in the .yaml beside it, by empty tensors. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { saidOfPrediction } from "../../src/models/prediction.ts";

const V = { prediction_type: "v_prediction" };
const EPSILON = { prediction_type: "epsilon" };
const yaml = (params: string) =>
  `model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n${params}    unet_config:\n      target: openaimodel.UNetModel\n`;
const spec = (value: string) => ({ "modelspec.prediction_type": value });

/** Metadata, the .yaml, tensors, and what follows: the last of them that says something wins. */
const CASES: Record<string, [Record<string, string>, string | null, string[], object]> = {
  "nothing said": [{}, null, [], {}],
  "kohya's metadata: epsilon": [spec("epsilon"), null, [], EPSILON],
  "kohya's metadata: v": [spec("v"), null, [], V],
  "a metadata's word that nobody knows": [spec("flow"), null, [], {}],
  "the web UI's yaml with v": [{}, yaml('    parameterization: "v"\n'), [], V],
  "the web UI's yaml without": [{}, yaml("    linear_start: 0.00085\n"), [], EPSILON],
  "a yaml that is no model's": [{}, "notes: v\n", [], {}],
  "the metadata above the yaml": [spec("epsilon"), yaml("    parameterization: v\n"), [], EPSILON],
  "NoobAI's empty tensors above all": [
    spec("epsilon"),
    null,
    ["v_pred", "ztsnr"],
    { ...V, rescale_betas_zero_snr: true },
  ],
};

for (const [what, [metadata, beside, tensors, said]] of Object.entries(CASES)) {
  test(what, (t) => {
    const dir = mkdtempSync(join(tmpdir(), "prediction-"));
    t.after(() => rmSync(dir, { recursive: true }));
    if (beside !== null) writeFileSync(join(dir, "model.yaml"), beside);
    assert.deepEqual(saidOfPrediction(join(dir, "model.SafeTensors"), new Set(tensors), metadata), said);
  });
}

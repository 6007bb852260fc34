/** What a single file says of what it predicts: in its metadata, in the .yaml beside it, by empty tensors. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { UnsupportedError } from "../../src/models/config.ts";
import { saidOfPrediction } from "../../src/models/prediction.ts";

const V = { prediction_type: "v_prediction" };
const EPSILON = { prediction_type: "epsilon" };
const REFUSED = null;
const yaml = (params: string) =>
  `model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n${params}    cond_stage_key: txt\n`;
const sgm = (scaling: string) =>
  `model:\n  target: sgm.models.diffusion.DiffusionEngine\n  params:\n    denoiser_config:\n      params:\n        scaling_config:\n          target: sgm.modules.diffusionmodules.denoiser_scaling.${scaling}\n`;
const spec = (value: string) => ({ "modelspec.prediction_type": value });
const architecture = (name: string) => ({ "modelspec.architecture": name });

/** Metadata, the .yaml, tensors, and what follows: the last of them that says something wins. */
const CASES: Record<string, [Record<string, string>, string | null, string[], object | typeof REFUSED]> = {
  "nothing said": [{}, null, [], {}],
  "kohya's metadata: epsilon": [spec("epsilon"), null, [], EPSILON],
  "kohya's metadata: v": [spec("v"), null, [], V],
  "the same in other words": [spec("V-Prediction"), null, [], V],
  "metadata that say nothing": [spec(" "), null, [], {}],
  "a metadata's word for what is not carried out": [spec("flow"), null, [], REFUSED],
  "an architecture that predicts epsilon": [architecture("stable-diffusion-v2-512"), null, [], EPSILON],
  "an architecture that predicts v": [architecture("stable-diffusion-v2-768-v"), null, [], V],
  "an architecture that does not say so": [architecture("stable-diffusion-xl-v1-base"), null, [], {}],
  "the web UI's yaml with v": [{}, yaml('    parameterization: "v"\n'), [], V],
  "the web UI's yaml without": [{}, yaml(""), [], EPSILON],
  "a yaml with a noise schedule": [
    {},
    yaml("    linear_start: 0.001\n    linear_end: 0.0130 # more\n    timesteps: 500\n"),
    [],
    { ...EPSILON, beta_start: 0.001, beta_end: 0.013, num_train_timesteps: 500 },
  ],
  "a yaml whose numbers are none": [{}, yaml("    linear_start: none\n"), [], REFUSED],
  "sgm's yaml with v": [{}, sgm("VScaling"), [], V],
  "sgm's yaml with epsilon": [{}, sgm("EpsScaling"), [], EPSILON],
  "sgm's yaml of another noise": [{}, sgm("EDMScaling"), [], REFUSED],
  "sgm's yaml that says nothing of it": [{}, "model:\n  target: sgm.models.diffusion.DiffusionEngine\n", [], {}],
  "a yaml that is a web page": [{}, "\n<!DOCTYPE html>\n<html>", [], REFUSED],
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
    const read = () => saidOfPrediction(join(dir, "model.SafeTensors"), new Set(tensors), metadata);
    if (said === REFUSED) assert.throws(read, UnsupportedError);
    else assert.deepEqual(read(), said);
  });
}

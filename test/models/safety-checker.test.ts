/** The safety checker's verdicts against diffusers', and checkers that cannot be run. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { check } from "../../check/safety.ts";
import { verdictOf } from "../../src/diffusion/safety.ts";
import { openSafetyChecker } from "../../src/models/safety-checker.ts";
import { openLibrary } from "../../workers/generate/library.ts";
import { readRaw, writeRaw } from "../support/rewrite.ts";
import { TINY_MODELS } from "../support/service.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");
const scratch = mkdtempSync(join(tmpdir(), "cn-"));
after(() => rmSync(scratch, { recursive: true }));

/** A copy of the fixture's checker, spoiled. */
function spoiled(name: string, spoil: (folder: string) => void): string {
  const folder = join(scratch, name, "safety_checker");
  cpSync(join(FIXTURES, "safety_checker"), folder, { recursive: true });
  spoil(folder);
  return folder;
}

test("says of pictures what diffusers' says: a hair over, a hair under, over by special care alone", async () => {
  const findings = await check(FIXTURES);
  for (const { subject, error } of findings) console.log(`${subject.padEnd(28)} ${error.toExponential(2)}`);
  assert.equal(findings.length, 25);
  assert.deepEqual(
    findings.filter(({ error, bound }) => error > bound),
    [],
  );
});

/** Outputs of a checker with one concept and one special one, at these cosines over their thresholds. */
function outputs(concept: number, special: number) {
  const at = (cos: number) => ({ dims: [1, 2], data: Float32Array.of(cos, Math.sqrt(1 - cos ** 2)) });
  const value = (of: number) => ({ dims: [1], data: Float32Array.of(of) });
  return {
    image_embeds: { dims: [1, 2], data: Float32Array.of(1, 0) },
    concepts: at(0.5 + concept),
    special: at(0.5 + special),
    concept_thresholds: value(0.5),
    special_thresholds: value(0.5),
  };
}

test("scores count by their third decimal, and special care adds 0.01", () => {
  for (const [concept, special, flagged] of [
    [0.0006, -1, true],
    [0.0004, -1, false],
    [-0.0094, 0.0006, true],
    [-0.0094, 0.0004, false],
    [-0.0096, 0.0006, false],
  ] as const) {
    assert.equal(verdictOf(outputs(concept, special)).flagged, flagged, `${concept}, ${special}`);
  }
});

test("what is no number lets no picture pass", () => {
  assert.throws(() => verdictOf(outputs(Number.NaN, -1)), /the safety checker gave values that are not finite/);
});

const SPOILED: Record<string, [spoil: (folder: string) => void, says: RegExp]> = {
  "cut off": [(folder) => truncateSync(join(folder, "model.safetensors"), 20_000), /model.safetensors: /],
  "without its concepts": [
    (folder) => {
      const tensors = readRaw(join(folder, "model.safetensors"));
      tensors.delete("concept_embeds");
      writeRaw(join(folder, "model.safetensors"), tensors);
    },
    /"concept_embeds" is missing/,
  ],
  "of another class": [
    (folder) => writeFileSync(join(folder, "config.json"), '{"architectures": ["CLIPModel"]}'),
    /CLIPModel is no StableDiffusionSafetyChecker/,
  ],
  "with other means": [
    (folder) => {
      const file = join(folder, "preprocessor_config.json");
      writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), image_mean: [0.5, 0.5, 0.5] }));
    },
    /"image_mean" must be \[0.48/,
  ],
};
for (const [name, [spoil, says]] of Object.entries(SPOILED)) {
  test(`a checker ${name} is refused with the reason`, () => {
    assert.throws(() => openSafetyChecker(spoiled(name, spoil)), says);
  });
}

test("MODELS_DIR's own checker is for the models that bring none; a model's that cannot be run is none, with the reason", () => {
  const models = join(scratch, "models");
  cpSync(join(TINY_MODELS, "base"), join(models, "base"), { recursive: true });
  const entry = () => openLibrary(models).catalog.models.find(({ id }) => id === "base")!;
  assert.equal(entry().safety_checker, "none");
  cpSync(join(FIXTURES, "safety_checker"), join(models, "safety_checker"), { recursive: true });
  assert.equal(entry().safety_checker, "off");
  assert.deepEqual(openLibrary(models).catalog.skipped, []);
  rmSync(join(models, "safety_checker"), { recursive: true });
  cpSync(spoiled("own", SPOILED["cut off"]![0]), join(models, "base/safety_checker"), { recursive: true });
  assert.equal(entry().safety_checker, "none");
  assert.match(entry().warnings.join(), /safety_checker cannot be run: model.safetensors/);
});

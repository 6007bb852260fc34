/**
 * Checkpoints as they were found in public reports, with other weights: diffusers' picture, or a refusal that says why. Two of them lie in
 * test/fixtures/wild, all where the reference data is beside the project.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { brotliDecompressSync } from "node:zlib";
import { decodeImage } from "../../src/image/decode.ts";
import { readRaw } from "../support/rewrite.ts";
import { decibels, readRequest, serve } from "../support/served.ts";

const OWN = join(import.meta.dirname, "../fixtures/wild");
const ALL = join(import.meta.dirname, "../../../shared/fixtures/wild");

/** What is said of those that are not served. */
const REASONS: Readonly<Record<string, RegExp>> = {
  asymmetric_vae: /AsymmetricAutoencoderKL/,
  lfs_pointer: /git-lfs pointer/,
  pipeline_list: /code of its own/,
  pipeline_pag: /StableDiffusionPAGPipeline/,
  sd1_prefix_none: /a U-Net under another prefix; a model in one file has its U-Net under model\.diffusion_model/,
  // It is served since, and wants to be told what the image is.
  union_folder: /"union" is a ControlNet-Union/,
  xl_no_vae: /no VAE: the file has no first_stage_model\./,
};

/** What is said of each thing in a controlnets folder that is none. */
const NO_CONTROLNETS: Readonly<Record<string, RegExp>> = {
  sd3: /Stable Diffusion 3/,
  t2i: /T2I-Adapter/,
  t2ifile: /T2I-Adapter/,
  lllite: /LLLite/,
};

/** The MODELS_DIR of a case. */
function unpacked(folder: string, t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "wild-"));
  t.after(() => rmSync(dir, { recursive: true }));
  if (existsSync(join(folder, "models.tar.xz"))) {
    execFileSync("tar", ["xJf", join(folder, "models.tar.xz"), "-C", dir]);
    return join(dir, "models");
  }
  mkdirSync(join(dir, "models"));
  for (const name of readdirSync(join(folder, "models"))) {
    const bytes = brotliDecompressSync(readFileSync(join(folder, "models", name)));
    writeFileSync(join(dir, "models", name.replace(/\.br$/, "")), bytes);
  }
  return join(dir, "models");
}

/** diffusers' picture, values in 0 … 1. */
async function expectedOf(folder: string): Promise<Float32Array | null> {
  const exact = join(folder, "expected.safetensors");
  if (existsSync(exact)) return new Float32Array(new Uint8Array(readRaw(exact).get("images")!.bytes).buffer);
  const rounded = join(folder, "expected.png");
  if (!existsSync(rounded)) return null;
  const { data } = await decodeImage(readFileSync(rounded), { maxPixels: 2 ** 20 });
  return Float32Array.from(data, (value) => value / 255);
}

const dir = existsSync(ALL) ? ALL : OWN;
const cases = readdirSync(dir).filter((name) => existsSync(join(dir, name, "case.json")));

suite("checkpoints of the wild", () => {
  for (const name of cases) {
    const folder = join(dir, name);
    const { kind } = JSON.parse(readFileSync(join(folder, "case.json"), "utf8"));
    const reason = REASONS[name];
    test(`${name} (${kind})`, async (t) => {
      const request = readRequest(folder);
      const models = unpacked(folder, t);
      const served = await serve(models, request);
      if ("reason" in served) {
        t.diagnostic(`${name.padEnd(26)} ${served.reason.slice(0, 120)}`);
        assert.match(served.reason, reason ?? /no reason is expected/);
        return;
      }
      assert.equal(reason, undefined);
      for (const [controlnet, says] of Object.entries(kind === "controlnets_refused" ? NO_CONTROLNETS : {})) {
        const image = `data:image/png;base64,${readFileSync(join(OWN, "xl_fp8/expected.png")).toString("base64")}`;
        const refused = await serve(models, { ...request, controls: [{ controlnet, image }] });
        assert.match("reason" in refused ? refused.reason : "a picture", says);
        t.diagnostic(`${name.padEnd(26)} ${"reason" in refused ? refused.reason.slice(0, 120) : ""}`);
      }
      const expected = await expectedOf(folder);
      if (expected === null) return;
      const found = decibels(served.pixels, expected);
      t.diagnostic(`${name.padEnd(26)} ${found.toFixed(1)} dB`);
      assert.ok(found >= 57, `${found} dB`);
    });
  }
});

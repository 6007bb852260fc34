import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import sharp from "sharp";
import { encodeImage } from "../../src/image/encode.ts";
import { readProvenance, requestOfPicture, xmpOf } from "../../src/image/provenance.ts";
import { GenerationInput, GenerationRequest, OutputFormat } from "../../src/schema/generation-request.ts";
import { temporaryFolder } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const data = Uint8Array.from({ length: 3 * 64 * 48 }, (_, i) => (i * i) % 251);
const pixels = { width: 64, height: 48, data };
const hash = (digit: string) => `sha256:${digit.repeat(64)}`;
const SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";
/** Everything that XML, JSON and a careless reader stumble over. */
const PROMPT =
  '</cns:Request> "a" <b> & &amp; &#65; \u0000\u0007\n\t\ufffe\uffff \ud800 😀 Straße 家 ]]> <?xpacket end="w"?>';

const requestOf = (output_format: OutputFormat, fields: object = {}) =>
  GenerationRequest.parse({
    model: "base",
    prompt: PROMPT,
    width: 64,
    height: 48,
    scheduler: "ddim",
    seed: 7,
    num_images: 2,
    controls: [{ controlnet: "canny", image: [hash("a"), hash("b")], mask: null }],
    image: null,
    mask_image: null,
    strength: null,
    output_format,
    webhook: { url: "https://example.com/hook", events: ["succeeded"] },
    metadata: { customer: "secret" },
    priority: 3,
    preview: true,
    ...fields,
  });
const hasExiftool = spawnSync("exiftool", ["-ver"]).status === 0;

for (const format of OutputFormat.options) {
  describe(format, () => {
    const xmp = xmpOf("full", requestOf(format), 1)!;

    test("the mark leaves every pixel as it is, and the same request gives the same bytes", async () => {
      const [plain, marked, again] = [
        await encodeImage(pixels, format),
        await encodeImage(pixels, format, xmp),
        await encodeImage(pixels, format, xmp),
      ];
      assert.deepEqual(await sharp(marked).raw().toBuffer(), await sharp(plain).raw().toBuffer());
      assert.deepEqual(marked, again);
    });

    test("a picture says which request makes it alone: its own seed and control image, no webhook, no metadata", async () => {
      const told = await readProvenance(await encodeImage(pixels, format, xmp));
      assert.equal(told.digitalSourceType, SOURCE);
      const request = told.request as Record<string, unknown>;
      assert.deepEqual(request, requestOfPicture(requestOf(format), 1));
      assert.partialDeepStrictEqual(request, { prompt: PROMPT, seed: 8, num_images: 1, output_format: format });
      assert.equal((request.controls as { image: string }[])[0]!.image, hash("b"));
      for (const name of ["webhook", "metadata", "priority", "preview", "response"])
        assert.ok(!(name in request), name);
      assert.ok(GenerationInput.safeParse(request).success, "POST takes it");
    });

    test("PROVENANCE=mark tells no request, off nothing", async () => {
      const mark = xmpOf("mark", requestOf(format), 0);
      const told = await readProvenance(await encodeImage(pixels, format, mark));
      assert.deepEqual(told, { digitalSourceType: SOURCE, request: null });
      assert.equal(xmpOf("off", requestOf(format), 0), null);
      assert.deepEqual(await readProvenance(await encodeImage(pixels, format)), {
        digitalSourceType: null,
        request: null,
      });
    });

    test("exiftool reads the source type and the request", {
      skip: !hasExiftool && "exiftool is missing",
    }, async () => {
      const file = join(await temporaryFolder(stack), `picture.${format}`);
      const fields = { prompt: "a <house> & a lake" };
      await writeFile(file, await encodeImage(pixels, format, xmpOf("full", requestOf(format, fields), 0)));
      const args = ["-json", "-XMP-iptcExt:DigitalSourceType", "-XMP:all", "-validate", "-warning", file];
      const [read] = JSON.parse(execFileSync("exiftool", args, { encoding: "utf8" }));
      assert.equal(read.DigitalSourceType, SOURCE);
      assert.equal(read.CreatorTool, "controlnet-service");
      assert.equal(JSON.parse(read.Request).prompt, "a <house> & a lake");
      assert.equal(read.Warning, undefined);
    });
  });
}

test("a request that a JPEG has no room for is left out, and the mark stays", async () => {
  const controls = Array.from({ length: 8 }, (_, i) => ({
    controlnet: "x".repeat(100),
    image: hash(String(i)),
    mask: null,
  }));
  const long = { prompt: "&".repeat(10_000), negative_prompt: "家".repeat(10_000), num_images: 1, controls };
  const told = async (format: OutputFormat) =>
    readProvenance(await encodeImage(pixels, format, xmpOf("full", requestOf(format, long), 0)));
  assert.deepEqual(await told("jpeg"), { digitalSourceType: SOURCE, request: null });
  assert.equal(((await told("png")).request as { prompt: string }).prompt, long.prompt);
});

test("a picture of another program has no request", async () => {
  const foreign = await encodeImage(
    pixels,
    "png",
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><cns:Request>{}</cns:Request></x:xmpmeta>',
  );
  assert.deepEqual(await readProvenance(foreign), { digitalSourceType: null, request: null });
});

/** A picture can be made again from itself. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { checkManifest } from "../../src/image/c2pa/sign.ts";
import { credential } from "../support/credential.ts";
import { startGateway } from "../support/gateway.ts";
import { temporaryFolder } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const root = join(import.meta.dirname, "../..");
const pngInfo = (file: string) =>
  execFileSync(process.execPath, [join(root, "png-info.ts"), file], { encoding: "utf8" });

test("png-info prints what POST /v1/generations takes, and the same bytes come of it, signed ones too", async () => {
  const folder = await temporaryFolder(stack);
  const { certificate, key } = await credential();
  const [C2PA_CERT, C2PA_KEY] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  await writeFile(C2PA_CERT, certificate);
  await writeFile(C2PA_KEY, key);
  const { http, work } = await startGateway(stack, { PROVENANCE: "full", C2PA_CERT, C2PA_KEY });
  await work();
  const make = async (body: object) =>
    (await http.post("/v1/generations").set("Prefer", "wait=60").send(body).expect(200)).body;
  const image = `data:image/png;base64,${readFileSync(join(root, "test/fixtures/image/decode/rgb.png")).toString("base64")}`;
  const first = await make({
    prompt: "a <house> & a lake",
    seed: 5,
    num_images: 2,
    num_inference_steps: 2,
    width: 64,
    height: 64,
    controls: [{ controlnet: "canny", image }],
    metadata: { note: "mine" },
  });
  const { body: bytes } = await http.get(new URL(first.images[1].url).pathname).buffer();
  assert.deepEqual(await checkManifest(bytes, "png"), []);
  const file = join(folder, "picture.png");
  await writeFile(file, bytes);
  const request = JSON.parse(pngInfo(file));
  assert.equal(request.seed, 6);
  const again = await make(request);
  assert.equal(again.images[0].sha256, first.images[1].sha256);
});

test("png-info says what it cannot do", () => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [join(root, "png-info.ts"), ...args], { encoding: "utf8" });
  const foreign = run(join(root, "test/fixtures/image/decode/rgb.png"));
  assert.equal(foreign.status, 1);
  assert.match(foreign.stderr, /has no request in it/);
  assert.equal(run().status, 2);
});

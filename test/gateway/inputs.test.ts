/** Where the images lie that jobs were given, and when they go. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import sharp from "sharp";
import { conforms } from "../support/conforms.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const { http, offer, connection, config } = await startGateway(stack, { MAX_QUEUE: "2" });
await offer(CATALOG);
const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
  .png()
  .toBuffer();
const artifacts = join(config.DATA_DIR, "artifacts");
const kept = () => readdirSync(join(artifacts, "inputs"));

const post = async (image = `data:image/png;base64,${png.toString("base64")}`) =>
  conforms(await http.post("/v1/generations").send({ prompt: "x", controls: [{ controlnet: "canny", image }] }));

async function remove(id: string): Promise<void> {
  assert.equal((await http.post(`/v1/generations/${id}/cancel`)).status, 202);
  assert.equal((await http.delete(`/v1/generations/${id}`)).status, 204);
}

test("an image lies once for each job that it was given to, may be named while one is kept, and goes with its job", async () => {
  const [first, second] = [(await post()).body, (await post()).body];
  const hash: string = first.request.controls[0].image;
  const names = (...jobs: { id: string }[]) => jobs.map(({ id }) => `${id}-${hash.slice("sha256:".length)}`).sort();
  assert.deepEqual(kept().sort(), names(first, second));

  assert.equal((await post()).status, 429, "the queue is full");
  assert.deepEqual(kept().sort(), names(first, second), "what is refused leaves nothing");

  await remove(first.id);
  assert.deepEqual(kept(), names(second));
  const third = (await post(hash)).body;
  assert.deepEqual(kept().sort(), names(second, third));

  await remove(second.id);
  await remove(third.id);
  assert.deepEqual(kept(), []);
  assert.deepEqual([await connection.keys("inputs:*"), await connection.keys("images:*")], [[], []]);
  assert.match((await post(hash)).body.detail, /no generation of yours keeps/);
});

test("an image of a job that was accepted before images lay in one folder is still found, and goes with it", async () => {
  const { id, request } = (await post()).body;
  const hash: string = request.controls[0].image;
  const folder = join(artifacts, "generations", id);
  mkdirSync(folder, { recursive: true });
  const hex = hash.slice("sha256:".length);
  renameSync(join(artifacts, "inputs", `${id}-${hex}`), join(folder, `input-${hex}`));
  const again = await post(hash);
  assert.equal(again.status, 202);
  await remove(id);
  assert.deepEqual(readdirSync(join(artifacts, "generations")), []);
  await remove(again.body.id);
});

/** What a gateway does whose disk has little room left: it says so, and leaves Redis what it needs of it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs/promises";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import sharp from "sharp";
import type { Problem } from "../../src/schema/problem.ts";
import { conforms } from "../support/conforms.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";
import { until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const MEGABYTE = 2 ** 20;
/** How many bytes may still be written beside the 512 MiB that stay free; such a disk cannot be had everywhere. */
let room = () => 0;
const statfs = mock.method(fs, "statfs", (async () => ({ bavail: 512 * MEGABYTE + room(), bsize: 1 })) as never);
syncBuiltinESMExports();
stack.defer(() => {
  statfs.mock.restore();
  syncBuiltinESMExports();
});

const { http, connection, config, offer } = await startGateway(stack);
await offer(CATALOG);

const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
  .png()
  .toBuffer();
const upload = (bytes: Buffer, type: string) => http.post("/v1/uploads").type(type).send(bytes);
const url = `${config.PUBLIC_URL}/v1/uploads`;
/** How many files there are, in or kept. */
const files = async () => {
  const entries = await fs.readdir(join(config.DATA_DIR, "artifacts"), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).length;
};

/** Fails when this is not the answer of a gateway without room. */
function assertNoRoom(status: number, headers: Headers, problem: unknown): void {
  const { status: same, code, detail } = problem as Problem;
  assert.deepEqual([status, same, code, headers.get("retry-after")], [503, 503, "not_ready", "1"]);
  assert.match(detail, /the disk has no room .* 512 MiB/);
}

/** Begins to send an archive. */
function begin(headers: Record<string, string>) {
  const sending = httpRequest(url, { method: "POST", headers: { "Content-Type": "application/zip", ...headers } });
  stack.defer(() => void sending.destroy());
  const answered = once(sending, "response", { signal: AbortSignal.timeout(10_000) });
  sending.on("error", () => {}); // it is closed once it is answered, whatever is still to be sent
  return {
    sending,
    async assertNoRoom() {
      const [answer] = (await answered) as [IncomingMessage];
      const answerHeaders = new Headers(answer.headers as Record<string, string>);
      assertNoRoom(answer.statusCode!, answerHeaders, await new Response(answer).json());
    },
  };
}

test("an archive that says that it would use what must stay free is refused before any of it is sent", async () => {
  room = () => 900 * MEGABYTE;
  const archive = begin({ "Content-Length": String(room() + 1) });
  archive.sending.flushHeaders();
  await archive.assertNoRoom();
  assert.equal(await files(), 0);
});

test("an archive that does not say how large it is, is stopped when the room is used up; nothing of it is left", async () => {
  let looks = 0;
  room = () => (looks++ < 3 ? 900 * MEGABYTE : 0); // others fill the disk
  const archive = begin({});
  for (let sent = 0; sent < 25; sent++) archive.sending.write(Buffer.alloc(MEGABYTE));
  await archive.assertNoRoom();
  assert.equal(looks, 4, "it was being written");
  assert.equal(await files(), 0);
});

test("whatever grows on the disk, text alone too, is refused and has no effect; with room all is taken again", async () => {
  room = () => 0;
  const image = `data:image/png;base64,${png.toString("base64")}`;
  const generation = { prompt: "x", controls: [{ controlnet: "canny", image }] };
  const training = {
    base: "base",
    name: "circles",
    dataset: "folder:circles",
    max_train_steps: 10,
    validation: [{ prompt: "x", image }],
  };
  const bringing = [
    () => upload(png, "image/png"),
    () => upload(Buffer.alloc(20), "application/zip"),
    () => http.post("/v1/generations").send(generation),
    () => http.post("/v1/generations").send({ prompt: "x" }), // Redis' file grows by it
    () => http.post("/v1/trainings").send(training),
  ];
  for (const send of bringing) {
    const { status, headers, body } = conforms(await send());
    assertNoRoom(status, new Headers(headers), body);
  }
  assert.equal(await files(), 0);
  assert.deepEqual([...(await connection.keys("generation:*")), ...(await connection.keys("training:*"))], []);
  room = () => MEGABYTE;
  assert.equal(conforms(await upload(png, "image/png")).status, 201);
  assert.equal(conforms(await http.post("/v1/generations").send(generation)).status, 202);
  assert.equal(conforms(await http.post("/v1/trainings").send(training)).status, 202);
});

test("one owner takes half of the room: of uploads one more is refused, of jobs those go that have ended, the oldest first", async () => {
  const gateway = await startGateway(stack, { API_KEYS: `ann:${"a".repeat(16)},bob:${"b".repeat(16)}` });
  await gateway.offer(CATALOG);
  const as = (name: string) => ({ Authorization: `Bearer ${name.repeat(16)}` });
  const large = Buffer.concat([png, Buffer.alloc(300_000)]);
  const uploading = (name: string) => gateway.http.post("/v1/uploads").set(as(name)).type("image/png").send(large);
  room = () => MEGABYTE;
  assert.equal(conforms(await uploading("a")).status, 201);
  room = () => MEGABYTE - large.length;
  const beyond = conforms(await uploading("a"));
  assert.deepEqual([beyond.status, beyond.body.code], [429, "too_many_uploads"]);
  assert.match(beyond.body.detail, /half of the room/);
  assert.equal(conforms(await uploading("b")).status, 201);

  const image = `data:image/png;base64,${large.toString("base64")}`;
  const body = { prompt: "x", controls: [{ controlnet: "canny", image }] };
  const make = async () => conforms(await gateway.http.post("/v1/generations").set(as("a")).send(body));
  const first = await make();
  assert.equal(first.status, 202);
  room = () => MEGABYTE - 2 * large.length;
  const waits = await make();
  assert.deepEqual([waits.status, waits.body.code], [429, "too_many_jobs"]);
  await gateway.http.post(`/v1/generations/${first.body.id}/cancel`).set(as("a"));
  assert.equal((await make()).status, 202);
  assert.equal((await gateway.http.get(`/v1/generations/${first.body.id}`).set(as("a"))).status, 404);
});

test("what was accepted waits for room, before its start and with its pictures, and then succeeds; a cancel is heard", async () => {
  room = () => MEGABYTE;
  const gateway = await startGateway(stack);
  await gateway.offer(CATALOG);
  const make = async (body: object = {}) =>
    conforms(await gateway.http.post("/v1/generations").send({ prompt: "x", num_inference_steps: 1, ...body }));
  const read = async (id: string) => conforms(await gateway.http.get(`/v1/generations/${id}`)).body;
  const first = (await make()).body;
  const second = (await make({ seed: 7 })).body;
  room = () => -1;
  await gateway.work();
  assert.equal((await make()).status, 503);
  assert.equal((await read(first.id)).status, "queued");
  room = () => 0; // enough to start, and not for a picture
  const warned = (id: string) =>
    until("the warning", async () => (await read(id)).warnings.some((one: string) => /disk is full/.test(one)));
  const ended = (id: string) =>
    until("its end", async () => {
      const generation = await read(id);
      return generation.ended_at === null ? undefined : generation;
    });
  await warned(first.id);
  assert.equal((await read(first.id)).status, "processing");
  assert.equal(conforms(await gateway.http.post(`/v1/generations/${first.id}/cancel`)).status, 202);
  assert.equal((await ended(first.id)).status, "canceled");
  await warned(second.id);
  room = () => 100 * MEGABYTE;
  const { status, warnings } = await ended(second.id);
  assert.deepEqual([status, warnings], ["succeeded", []]);
});

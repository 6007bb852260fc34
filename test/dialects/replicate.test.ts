/** Replicate's client, unmodified, makes pictures here. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { pino } from "pino";
import Replicate, { type Page, type Prediction, parseProgressFromLogs, validateWebhook } from "replicate";
import sharp from "sharp";
import { startDeliverer } from "../../workers/deliver/worker.ts";
import { startGateway } from "../support/gateway.ts";
import { freePort, until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const KEY = "0123456789abcdef";
const OTHER = "fedcba9876543210";
const hooks = await freePort();
const gateway = await startGateway(stack, { API_KEYS: `me:${KEY},you:${OTHER}`, ALLOW_HOSTS: `localhost:${hooks}` });
await gateway.work();
const baseUrl = `${gateway.config.PUBLIC_URL}/replicate/v1`;
const replicate = new Replicate({ auth: KEY, baseUrl });
const stranger = new Replicate({ auth: OTHER, baseUrl });

const picture = await sharp({ create: { width: 64, height: 64, channels: 3, background: "#fff" } })
  .png()
  .toBuffer();
const small = { prompt: "a house", num_inference_steps: 2, width: 64, height: 64, seed: 7 };

/** Fails unless the call is refused with this status and says so. */
async function refused(call: Promise<unknown>, status: number, says: RegExp): Promise<void> {
  await assert.rejects(call, (error: Error & { response?: Response }) => {
    assert.equal(error.response?.status, status, error.message);
    assert.match(error.message, says);
    return true;
  });
}

test("run waits for the pictures, whose addresses need no key", async () => {
  const output = (await replicate.run("anyone/base", { input: { ...small, num_images: 2 } })) as string[];
  assert.equal(output.length, 2);
  const bytes = Buffer.from(await (await fetch(output[0]!)).arrayBuffer());
  assert.equal((await sharp(bytes).metadata()).width, 64);
  const forged = output[0]!.replace(/token=.{5}/, "token=AAAAA");
  for (const url of [forged, output[0]!.split("?")[0]!]) assert.equal((await fetch(url)).status, 404);
  assert.equal((await fetch(`${output[0]}&reload=yes`)).status, 200, "a query to get past a cache");
  const part = await fetch(output[0]!, { headers: { Range: "bytes=0-7" } });
  assert.deepEqual([part.status, await part.text()], [206, bytes.subarray(0, 8).toString()]);
  const known = await fetch(output[0]!, { headers: { "If-None-Match": part.headers.get("ETag")! } });
  assert.equal(known.status, 304);
});

test("an input's nulls are as absent, under one Idempotency-Key too", async () => {
  const send = async (input: object) => {
    const headers = { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json", "Idempotency-Key": "null" };
    const body = JSON.stringify({ version: "base", input });
    const answer = await fetch(`${baseUrl}/predictions`, { method: "POST", headers, body });
    return [answer.status, ((await answer.json()) as Prediction).id];
  };
  const first = await send(small);
  assert.equal(first[0], 201);
  assert.deepEqual(await send({ ...small, negative_prompt: null, controls: null, width: 64 }), first);
});

test("run by polling hears how far it is", async () => {
  const heard: string[] = [];
  const options = { input: { ...small, num_inference_steps: 30 }, wait: { mode: "poll", interval: 20 } } as const;
  await replicate.run("anyone/base:base", options, ({ logs }) => {
    if (logs) heard.push(logs);
  });
  const last = parseProgressFromLogs(heard.at(-1)!);
  assert.deepEqual([last?.current, last?.total, last?.percentage], [31, 31, 1], "PNDM evaluates once more");
});

test("a prediction that takes longer than its wait is said to start, and goes on", async () => {
  const input = { ...small, num_inference_steps: 150, width: 256, height: 256 };
  const long = { model: "anyone/base", input }; // as long as the one before it, which so gives it no turn
  const blocking = await replicate.predictions.create(long);
  assert.equal(blocking.status, "starting");
  const started = await replicate.predictions.create({ ...long, wait: 1 });
  assert.deepEqual([started.status, started.output], ["starting", null]);
  const canceled = await replicate.predictions.cancel(started.id);
  assert.ok(["canceled", "processing"].includes(canceled.status));
  await replicate.predictions.cancel(blocking.id);
  const ended = await replicate.wait(blocking, { interval: 20 });
  assert.equal(ended.status, "canceled");
  await refused(stranger.predictions.get(started.id), 404, /there is no generation/);
});

test("predictions are listed page by page", async () => {
  const ids: string[] = [];
  let pages = 0;
  for await (const page of replicate.paginate(() =>
    replicate.request("/predictions?limit=2", {}).then((answer) => answer.json() as Promise<Page<Prediction>>),
  )) {
    ids.push(...page.map(({ id }) => id));
    pages++;
  }
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(pages, Math.ceil(ids.length / 2));
  assert.ok(ids.length >= 4);
  assert.deepEqual((await stranger.predictions.list()).results, []);
});

test("a stream tells of the pictures, then that it is done", async () => {
  const events: [string, string][] = [];
  for await (const { event, data } of replicate.stream("anyone/base", { input: small }))
    events.push([event, `${data}`]);
  assert.deepEqual(
    events.map(([event]) => event),
    ["output", "done"],
  );
  assert.equal((await fetch(events[0]![1])).headers.get("content-type"), "image/png");
});

test("a file that is sent first stands for itself, as a Buffer in the input does", async () => {
  const file = await replicate.files.create(picture, { of: "edges" });
  assert.deepEqual([file.size, file.metadata], [picture.length, { of: "edges" }]);
  assert.equal((await replicate.files.get(file.id)).id, file.id);
  assert.ok((await replicate.files.list()).results.some(({ id }) => id === file.id));
  const controls = [
    { controlnet: "canny", image: file.urls.get },
    { controlnet: "canny", image: picture },
  ];
  const prediction = await replicate.predictions.create({ model: "x/base", input: { ...small, controls }, wait: true });
  assert.equal(prediction.status, "succeeded");
  const made = prediction.input as { controls: { image: string }[] };
  assert.match(made.controls[0]!.image, /^sha256:/);
  assert.equal(made.controls[0]!.image, made.controls[1]!.image);
  await refused(stranger.files.get(file.id), 404, /there is no file/);
  assert.equal(await replicate.files.delete(file.id), true);
  await refused(replicate.files.get(file.id), 404, /there is no file/);
});

test("a Buffer may go as a data: URI too", async () => {
  const inline = new Replicate({ auth: KEY, baseUrl, fileEncodingStrategy: "data-uri" });
  // 1.4.0 sends its own settings in the place of the input: an unknown field, which is refused and not told again.
  await assert.rejects(inline.run("x/base", { input: { ...small, image: picture } }), (error: Error) => {
    assert.doesNotMatch(error.message, new RegExp(KEY));
    return /422/.test(error.message);
  });
});

test("webhooks bring the prediction, signed as Replicate signs", async () => {
  const heard: { headers: Record<string, string>; body: string }[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      heard.push({ headers: request.headers as Record<string, string>, body: Buffer.concat(chunks).toString() });
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(hooks, "localhost", resolve));
  assert.equal((server.address() as AddressInfo).port, hooks);
  stack.defer(() => void server.close());
  const deliverer = startDeliverer(gateway.config, pino({ level: "silent" }));
  stack.defer(() => deliverer.close());
  const webhook = `http://localhost:${hooks}/hook`;
  const made = await replicate.predictions.create({
    model: "x/base",
    input: small,
    webhook,
    webhook_events_filter: ["start", "completed"],
  });
  await until("both events", async () => heard.length >= 2 || undefined);
  const bodies = heard.map(({ body }) => JSON.parse(body));
  assert.deepEqual(bodies.map(({ status }) => status).sort(), ["processing", "succeeded"]);
  assert.ok(bodies.every(({ id }) => id === made.id));
  const secret = await replicate.webhooks.default.secret.get();
  const { headers, body } = heard[1]!;
  assert.equal(await validateWebhook({ headers, body } as never, secret.key), true);
  const ended = bodies.find(({ status }) => status === "succeeded");
  assert.equal((await fetch(ended.output[0])).status, 200);
});

test("models and their one version", async () => {
  const { results } = await replicate.models.list();
  assert.ok(results.some(({ owner, name }) => `${owner}/${name}` === "local/base"));
  assert.deepEqual((await replicate.models.search("nothing like it")).results, []);
  assert.equal((await replicate.models.search("BAS")).results[0]?.name, "base");
  const model = await replicate.models.get("anyone", "base");
  assert.equal(model.latest_version?.id, "base");
  const version = await replicate.models.versions.get("anyone", "base", "base");
  const { components } = version.openapi_schema as { components: { schemas: { Input: { properties: object } } } };
  assert.ok("controls" in components.schemas.Input.properties);
  assert.equal((await replicate.models.versions.list("anyone", "base")).results.length, 1);
});

const refusals: [name: string, options: Record<string, unknown>, says: RegExp][] = [
  ["an unknown model", { model: "stability-ai/sdxl" }, /\\"sdxl.*base/],
  ["an unknown version", { version: "anyone/base:0f0f" }, /0f0f.*base/],
  ["an unknown field of the input", { input: { ...small, sead: 1 } }, /input\.sead/],
  ["a field that is too large", { input: { ...small, num_inference_steps: 1000 } }, /input\.num_inference_steps/],
  ["a model in the input", { input: { ...small, model: "base" } }, /input\.model: .*the address, or by version/],
  ["a webhook in the input", { input: { ...small, webhook: "https://x.example" } }, /input\.webhook: .*beside input/],
  ["how pictures come", { input: { ...small, response: "base64" } }, /input\.response: .*list of addresses/],
  ["logs by webhook", { webhook: "https://example.com", webhook_events_filter: ["logs"] }, /logs/],
  ["a webhook to a private address", { webhook: "https://127.0.0.1/x" }, /webhook/],
];
for (const [name, options, says] of refusals) {
  test(`${name} is refused by name`, async () => {
    await refused(replicate.predictions.create({ model: "x/base", input: small, ...options } as never), 422, says);
  });
}

test("another method than a route has is 405 with what it has; a deadline of its own is refused", async () => {
  const headers = { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" };
  const put = await fetch(`${baseUrl}/predictions`, { method: "PUT", headers });
  assert.deepEqual([put.status, put.headers.get("allow")], [405, "GET, HEAD, OPTIONS, POST"]);
  const body = JSON.stringify({ version: "base", input: small });
  const timed = await fetch(`${baseUrl}/predictions`, {
    method: "POST",
    headers: { ...headers, "Cancel-After": "1m" },
    body,
  });
  assert.deepEqual(
    [timed.status, /^Cancel-After: /.test(((await timed.json()) as { detail: string }).detail)],
    [422, true],
  );
});

test("what is not there says why", async () => {
  await refused(replicate.trainings.list(), 404, /v1\/trainings/);
  await refused(replicate.hardware.list(), 404, /workers/);
  await refused(replicate.collections.list(), 404, /none/);
  await refused(new Replicate({ auth: "wrong", baseUrl }).predictions.list(), 401, /API key/);
});

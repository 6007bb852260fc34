/** sdk/typescript: generated from the document as it is, packed and installed, its README, and what is written by hand. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, test } from "node:test";
import { pino } from "pino";
import sharp from "sharp";
import { Webhook } from "standardwebhooks";
import { generateClient } from "../../sdk/generate.ts";
import {
  ControlNetService,
  createAnnotation,
  JobFailed,
  Refused,
  verifyWebhook,
} from "../../sdk/typescript/src/index.ts";
import { startDeliverer } from "../../workers/deliver/worker.ts";
import { startGateway } from "../support/gateway.ts";
import { freePort, temporaryFolder, until } from "../support/processes.ts";
import { installReadme } from "./readme.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const apiKey = "0123456789abcdef";
const port = await freePort();
const gateway = await startGateway(stack, { ALLOW_HOSTS: `localhost:${port}`, API_KEYS: `me:${apiKey}` });
await gateway.work();
const baseUrl = gateway.config.PUBLIC_URL;
const service = new ControlNetService({ baseUrl: `${baseUrl}/`, apiKey });
const request = { prompt: "x", num_inference_steps: 2, seed: 1 };

/** Every TypeScript file of a folder, by its path. */
function filesOf(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  return Object.fromEntries(names.sort().map((name) => [name, readFileSync(join(folder, name), "utf8")]));
}

test("sdk/typescript/src/generated is what openapi.json gives; `npm run sdk` writes it anew", async () => {
  const fresh = await temporaryFolder(stack);
  await generateClient(fresh);
  const [kept, given] = [filesOf(join(import.meta.dirname, "../../sdk/typescript/src/generated")), filesOf(fresh)];
  const different = Object.keys({ ...kept, ...given }).filter((name) => kept[name] !== given[name]);
  assert.deepEqual(different, []);
});

test("its README's programs compile as strict TypeScript and run as printed: packed, installed, under the oldest Node at hand", async (context) => {
  const readme = await installReadme(stack);
  context.diagnostic(`Node ${readme.node}`);
  await readme.compile();
  const env = { API: baseUrl, API_KEY: apiKey, RECEIVER_PORT: String(port) };
  const said = await readme.program(env);
  const steps = said.slice(1, -1);
  assert.match(said[0]!, /^canny depth /);
  assert.ok(steps.length >= 20, said.join("\n"));
  const expected = steps.map((_, i) => `${i + 1} of ${steps.length}`); // each once
  assert.deepEqual(said.slice(1), [...expected, "canceled"]);
  for (const name of ["house-7.png", "house-8.png"]) {
    assert.equal((await sharp(await readFile(join(readme.folder, name))).metadata()).format, "png");
  }

  const deliverer = startDeliverer(gateway.config, pino({ level: "silent" }));
  stack.defer(() => deliverer.close());
  const heard = readme.receiver(env);
  const url = `http://localhost:${port}`;
  const forged = { method: "POST", body: "{}" };
  const answer = await until("the receiver", () => fetch(url, forged).catch(() => undefined));
  assert.equal(answer.status, 400);
  const { id } = await service.create({ prompt: "x", num_inference_steps: 1, webhook: { url } });
  await until("the webhook", async () => heard().includes("\n"));
  assert.equal(heard(), `${baseUrl}/v1/generations/${id}/images/0\n`);
});

type Answer = (response: ServerResponse, incoming: IncomingMessage) => void;

/** A server that answers each request as the next of `answers` does, and keeps what it was asked. */
async function answering(...answers: Answer[]) {
  const asked: { key: string | undefined; body: string }[] = [];
  const server = createServer(async (incoming, response) => {
    asked.push({ key: incoming.headers["idempotency-key"] as string | undefined, body: await text(incoming) });
    answers[asked.length - 1]!(response, incoming);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => void server.close());
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const refused = (status: number, headers: Record<string, string>): Answer => {
  const problem = { type: "about:blank", title: "", status, code: "queue_full", detail: "full", errors: [] };
  return (response) =>
    response.writeHead(status, { "Content-Type": "application/problem+json", ...headers }).end(JSON.stringify(problem));
};

test("a request is sent again with the same key and body over cut connections and busy answers", async () => {
  const { asked, url } = await answering(
    (_, { socket }) => socket.destroy(),
    (response) => response.writeHead(202, { "Content-Length": 100 }).write("{", () => response.destroy()),
    refused(503, { "Retry-After": "0" }),
    (response) => response.writeHead(202, { "Content-Type": "application/json" }).end('{"id":"gen_1"}'),
  );
  const { id } = await new ControlNetService({ baseUrl: url }).create({ prompt: "a house" });
  assert.equal(id, "gen_1");
  assert.equal(asked.length, 4);
  assert.match(asked[0]!.key!, /^[\w-]{36}$/);
  for (const one of asked) assert.deepEqual(one, { key: asked[0]!.key, body: '{"prompt":"a house"}' });
});

test("whoever asks for more than a minute, or refuses for good, is not asked again", async () => {
  const busy = await answering(refused(429, { "Retry-After": "3600" }));
  const client = new ControlNetService({ baseUrl: busy.url });
  await assert.rejects(
    client.create({ prompt: "" }),
    (error) => error instanceof Refused && error.problem.status === 429,
  );
  const wrong = service.create({ ...request, width: 7 });
  await assert.rejects(wrong, (error) => error instanceof Refused && error.problem.errors[0]?.path === "width");
  assert.equal(busy.asked.length, 1);
});

test("an answer of something in between that is no problem+json throws with its status", async () => {
  const { url } = await answering((response) => response.writeHead(404, "Not Here").end("<html>"));
  await assert.rejects(new ControlNetService({ baseUrl: url }).get("gen_1"), /^Error: answered 404 Not Here$/);
});

const isEvents = (input: unknown) => input instanceof Request && input.url.endsWith("/events");

/** A service whose events do not come through: refused on the way, or held back. */
const without: Record<string, () => Promise<Response>> = {
  "are refused": () => Promise.reject(new TypeError("fetch failed")),
  "never come": async () => new Response(new ReadableStream(), { headers: { "Content-Type": "text/event-stream" } }),
};

for (const [what, answer] of Object.entries(without)) {
  test(`the end is found by asking where the events ${what}`, async () => {
    const instead: typeof fetch = (input, init) => (isEvents(input) ? answer() : fetch(input, init));
    const generation = await new ControlNetService({ baseUrl, apiKey, fetch: instead }).generate(request);
    assert.equal(generation.status, "succeeded");
  });
}

test("every step is heard of once, also over a connection that is cut; a stranger's id is refused at once", async () => {
  let cut = false;
  /** Breaks the first stream of events after its second piece. */
  const breaking: typeof fetch = async (input, init) => {
    const answer = await fetch(input, init);
    if (!isEvents(input) || cut) return answer;
    cut = true;
    const reader = answer.body!.getReader();
    let left = 2;
    const pull = async (controller: ReadableStreamDefaultController) => {
      const { value } = await reader.read();
      if (left-- === 0) controller.error(new TypeError("terminated"));
      else controller.enqueue(value);
    };
    return new Response(new ReadableStream({ pull }), answer);
  };
  const steps: number[] = [];
  const onProgress = ({ step }: { step: number }) => void steps.push(step);
  const body = { ...request, num_inference_steps: 12 };
  const generation = await new ControlNetService({ baseUrl, apiKey, fetch: breaking }).generate(body, { onProgress });
  assert.ok(cut && generation.progress.total >= 12);
  assert.deepEqual(
    steps,
    Array.from({ length: generation.progress.total }, (_, i) => i + 1),
  );
  await assert.rejects(service.wait({ id: "gen_none", object: "generation" }), Refused);
});

test("waiting ends with its signal, and with what hearing of progress throws; canceling is an error of generate", async () => {
  const long = await service.create({ ...request, num_inference_steps: 150, num_images: 8 });
  await assert.rejects(service.wait(long, { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
  const onProgress = () => {
    throw new Error("enough");
  };
  await assert.rejects(service.wait(long, { onProgress }), /enough/);
  await service.cancel(long.id);
  const again = service.generate(
    { ...request, num_inference_steps: 150, num_images: 8 },
    {
      onProgress: () =>
        void service
          .list({ status: "processing" })
          .then(({ data }) => service.cancel(data[0]!.id))
          .catch(() => {}),
    },
  );
  await assert.rejects(again, (error) => error instanceof JobFailed && error.job.status === "canceled");
});

test("files go up as a path, a Blob or bytes, and come back as bytes; the same key gives the same generation", async () => {
  const png = await sharp({ create: { width: 64, height: 48, channels: 3, background: "red" } })
    .png()
    .toBuffer();
  const path = join(await temporaryFolder(stack), "hint.png");
  await writeFile(path, png);
  const uploads = await Promise.all([path, new Blob([new Uint8Array(png)]), png].map((file) => service.upload(file)));
  const controls = uploads.map((image) => ({ controlnet: "canny", image }));
  const generation = await service.generate({ ...request, controls }, { idempotencyKey: "order-1" });
  assert.deepEqual((await service.create({ ...request, controls }, "order-1")).id, generation.id);
  assert.equal((await service.list({ limit: 1 })).data[0]!.id, generation.id);
  const { width, format } = await sharp(await service.picture(generation.id)).metadata();
  assert.deepEqual([width, format], [generation.images[0]!.width, "png"]);
  const body = { annotator: "canny", image: uploads[0]! } as const;
  const { data } = await createAnnotation({ client: service.client, body, throwOnError: true });
  assert.equal((await service.wait(data)).status, "succeeded");
});

test("webhooks are verified with the headers of Node or of fetch; forged, changed and old ones throw", async () => {
  const key = await service.webhookKey();
  const body = JSON.stringify({ type: "generation.failed", timestamp: "", data: { id: "gen_1" } });
  const signed = (at: Date) => ({
    "webhook-id": "evt_1",
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": new Webhook(key).sign("evt_1", at, body),
  });
  const now = signed(new Date());
  for (const headers of [now, new Headers(now)]) {
    for (const raw of [body, Buffer.from(body), new TextEncoder().encode(body)]) {
      const webhook = verifyWebhook(raw, headers, key);
      assert.ok(webhook.type === "generation.failed" && webhook.data.id === "gen_1");
    }
  }
  assert.throws(() => verifyWebhook(`${body} `, now, key));
  assert.throws(() => verifyWebhook(body, now, `whsec_${Buffer.alloc(24).toString("base64")}`));
  assert.throws(() => verifyWebhook(body, signed(new Date(Date.now() - 600_000)), key));
  assert.throws(() => verifyWebhook(body, {}, key));
});

/** The libraries that people use, driven: each creates, waits, uploads, cancels, deletes, and follows events over a cut connection. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { promisify } from "node:util";
import axios from "axios";
import { EventSourcePlus } from "event-source-plus";
import { EventSource } from "eventsource";
import got from "got";
import sharp from "sharp";
import supertest from "supertest";
import { request as undici } from "undici";
import { BOUNDS } from "../../src/gateway/bounds.ts";
import { cuttingProxy } from "../support/cutting-proxy.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());
const run = promisify(execFile);

const gateway = await startGateway(stack);
await gateway.work();
const url = gateway.config.PUBLIC_URL;
const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
  .png()
  .toBuffer();

interface Answer {
  status: number;
  bytes: Buffer;
}
type Call = (method: string, path: string, headers: Record<string, string>, body?: Buffer) => Promise<Answer>;

/** One call as each library makes it; of one that sets Content-Type always, the caller sets it always. */
const LIBRARIES: Record<string, Call> = {
  async fetch(method, path, headers, body) {
    const answer = await fetch(url + path, { method, headers, ...(body && { body: new Uint8Array(body) }) });
    return { status: answer.status, bytes: Buffer.from(await answer.arrayBuffer()) };
  },
  async axios(method, path, headers, data) {
    const options = { responseType: "arraybuffer", validateStatus: null } as const;
    const answer = await axios.request<ArrayBuffer>({ method, url: url + path, headers, data, ...options });
    return { status: answer.status, bytes: Buffer.from(answer.data) };
  },
  async got(method, path, headers, body) {
    const options = { responseType: "buffer", throwHttpErrors: false, retry: { limit: 0 } } as const;
    const answer = await got(url + path, { method: method as "GET", headers, ...(body && { body }), ...options });
    return { status: answer.statusCode, bytes: Buffer.from(answer.body) };
  },
  async undici(method, path, headers, body) {
    const answer = await undici(url + path, { method: method as "GET", headers, body: body ?? null });
    return { status: answer.statusCode, bytes: Buffer.from(await answer.body.arrayBuffer()) };
  },
  async supertest(method, path, headers, body) {
    const asked = supertest(url)[method.toLowerCase() as "get"](path).set(headers).buffer(true);
    const bytesOf = asked.parse((response, done) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk) => chunks.push(Buffer.from(chunk)));
      response.on("end", () => done(null, Buffer.concat(chunks)));
    });
    const answer = await (body === undefined
      ? bytesOf
      : bytesOf.serialize((sent) => sent).send(body as unknown as object));
    return { status: answer.status, bytes: answer.body };
  },
  async curl(method, path, headers, body) {
    const args = [
      "-s",
      "-X",
      method,
      "-w",
      "\n%{http_code}",
      ...Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
    ];
    const running = run("curl", [...args, ...(body === undefined ? [] : ["--data-binary", "@-"]), url + path], {
      encoding: "buffer",
    });
    running.child.stdin!.end(body);
    const { stdout } = await running;
    const end = stdout.lastIndexOf(10);
    return { status: Number(stdout.subarray(end + 1).toString()), bytes: stdout.subarray(0, end) };
  },
};

const JSON_TYPE = { "Content-Type": "application/json" };
const EXPECTED = [201, 200, 200, 202, 202, 204, 200, 400];

for (const [name, call] of Object.entries(LIBRARIES)) {
  test(name, async () => {
    const json = (path: string, body: object, headers = {}) =>
      call("POST", path, { ...JSON_TYPE, ...headers }, Buffer.from(JSON.stringify(body)));
    const parsed = ({ bytes }: Answer) => JSON.parse(bytes.toString());
    const uploaded = await call("POST", "/v1/uploads", { "Content-Type": "image/png" }, png);
    const control = { controlnet: "canny", image: `upload:${parsed(uploaded).id}`, mask: null };
    const request = { prompt: "x", num_inference_steps: 1, controls: [control], seed: null };
    const made = await json("/v1/generations", request, { Prefer: "wait" });
    const picture = await call("GET", parsed(made).images[0].url.replace(url, ""), JSON_TYPE);
    const waiting = await json("/v1/generations", { prompt: "x", num_inference_steps: 100 });
    const canceled = await call("POST", `/v1/generations/${parsed(waiting).id}/cancel`, JSON_TYPE);
    const deleted = await call("DELETE", `/v1/generations/${parsed(made).id}`, JSON_TYPE);
    const rotated = await call("POST", "/v1/webhooks/secret/rotate", JSON_TYPE);
    const refused = await json("/v1/generations", { prompt: "x", steps: 1 });
    const answers = [uploaded, made, picture, waiting, canceled, deleted, rotated, refused];
    assert.deepEqual(
      answers.map(({ status }) => status),
      EXPECTED,
    );
    assert.equal((await sharp(picture.bytes).metadata()).format, "png");
  });
}

for (const library of ["requests", "httpx"]) {
  test(`Python's ${library}`, async (t) => {
    const there = await run("python3", ["-c", `import ${library}`]).catch(() => undefined);
    if (there === undefined) return t.skip(`this machine has no Python with ${library}`);
    const script = join(import.meta.dirname, "../support/client.py");
    const { stdout } = await run("python3", [script, library, url, png.toString("base64")]);
    const { statuses, bytes } = JSON.parse(stdout);
    assert.deepEqual(statuses, EXPECTED);
    assert.ok(bytes > 100);
  });
}

interface Heard {
  event: string;
  id: string;
}
/** Follows a stream to its final event; every library connects again by itself. */
type Follow = (address: string, hear: (heard: Heard) => void) => Promise<void>;

const NAMES = ["queued", "started", "progress", "succeeded", "failed", "canceled"];
const isLast = (event: string) => ["succeeded", "failed", "canceled"].includes(event);

/** By the interface of browsers, which the polyfills have. */
const byEventSource =
  (make: (address: string) => EventTarget & { close(): void }): Follow =>
  (address, hear) =>
    new Promise((resolve) => {
      const source = make(address);
      for (const name of NAMES) {
        source.addEventListener(name, (event) => {
          hear({ event: name, id: (event as MessageEvent).lastEventId });
          if (!isLast(name)) return;
          source.close();
          resolve();
        });
      }
    });

const { EventSourcePolyfill } = (await import("event-source-polyfill" as string)) as {
  EventSourcePolyfill: new (address: string, options: object) => EventTarget & { close(): void };
};

const FOLLOWERS: Record<string, Follow> = {
  eventsource: byEventSource((address) => new EventSource(address)),
  "event-source-polyfill": byEventSource((address) => new EventSourcePolyfill(address, { heartbeatTimeout: 20_000 })),
  "event-source-plus": (address, hear) =>
    new Promise((resolve) => {
      const listening = new EventSourcePlus(address, { maxRetryInterval: 1000 }).listen({
        onMessage({ event = "", id = "" }) {
          hear({ event, id });
          if (!isLast(event)) return;
          listening.abort();
          resolve();
        },
      });
    }),
};
describe("events over a connection that is cut: each comes once, none is missing", () => {
  for (const [name, follow] of Object.entries(FOLLOWERS)) {
    test(name, async () => {
      const { body } = await gateway.http.post("/v1/generations").send({ prompt: "x", num_inference_steps: 100 });
      const { address, connections } = await cuttingProxy(stack, gateway.config);
      const heard: Heard[] = [];
      await follow(`${address}/v1/generations/${body.id}/events`, (one) => heard.push(one));
      assert.ok(connections() >= 3, `${connections()} connections`);
      assert.equal(new Set(heard.map(({ id }) => id)).size, heard.length);
      const steps = heard.filter(({ event }) => event === "progress").length;
      const total = (await gateway.http.get(`/v1/generations/${body.id}`)).body.progress.total;
      assert.deepEqual(
        [heard[0]?.event, heard[1]?.event, steps, heard.at(-1)?.event],
        ["queued", "started", total, "succeeded"],
      );
    });
  }

  test("a comment keeps it open: over HTTP as soon as nothing was said for so long, 15 s as it is installed", async () => {
    assert.equal(BOUNDS.silenceMs, 15_000);
    const quiet = await startGateway(stack, {}, undefined, { silenceMs: 20 });
    await quiet.offer(CATALOG);
    const { id } = (await quiet.http.post("/v1/generations").send({ prompt: "x" })).body;
    const answer = await fetch(`${quiet.config.PUBLIC_URL}/v1/generations/${id}/events`);
    let text = "";
    for await (const piece of answer.body!.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (text.split(/^: /m).length === 4) break;
    }
    assert.match(text, /^retry: 1000\n\nid: 1-0\nevent: queued\ndata: .*\n\n(: still there\n\n){3}$/);
  });

  test("an empty Last-Event-ID is none; in the query it counts as in the header", async () => {
    const { body } = await gateway.http
      .post("/v1/generations")
      .set("Prefer", "wait")
      .send({ prompt: "x", num_inference_steps: 2 });
    const path = `/v1/generations/${body.id}/events`;
    const idsOf = async (query: string, headers = {}) =>
      [...(await (await fetch(`${url}${path}${query}`, { headers })).text()).matchAll(/^id: (.+)$/gm)].map(
        ([, id]) => id!,
      );
    const all = await idsOf("");
    assert.deepEqual(await idsOf("", { "Last-Event-ID": "" }), all);
    assert.deepEqual(await idsOf("?lastEventId="), all);
    for (const query of [`?lastEventId=${all[1]}`, `?last_event_id=${all[1]}`, `?Last-Event-ID=${all[1]}&r=0.5`]) {
      assert.deepEqual(await idsOf(query), all.slice(2), query);
    }
    assert.deepEqual(await idsOf(`?lastEventId=${all[0]}`, { "Last-Event-ID": all[1] }), all.slice(2));
    assert.equal((await gateway.http.get(`${path}?lastEventId=${all.at(-1)}`)).status, 204);
    assert.equal((await gateway.http.get(`${path}?lastEventId=x`)).status, 400);
    const refused = (await gateway.http.get(path).set("Last-Event-ID", "x")).body;
    assert.match(refused.detail, /must be the id of an event$/);
  });
});

/** What a browser's page of another origin may do: call the service (CORS_ORIGINS), and show pictures by signed links (PUBLIC_IMAGES=signed). */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, mock, test } from "node:test";
import { pino } from "pino";
import sharp from "sharp";
import { claimJob, reportStep } from "../../src/jobs/attempt.ts";
import type { TrainingRecord } from "../../src/jobs/training.ts";
import { RedisClock } from "../../src/redis/time.ts";
import type { Generation } from "../../src/schema/generation.ts";
import type { Problem } from "../../src/schema/problem.ts";
import { lossKey, validationKey } from "../../src/storage/keys.ts";
import { openStorage } from "../../src/storage/open.ts";
import { startDeliverer } from "../../workers/deliver/worker.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";
import { until } from "../support/processes.ts";
import { receive } from "../support/receive.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const KEY = "0123456789abcdef";
const APP = "https://app.example";
const PNG = await sharp({ create: { width: 64, height: 64, channels: 3, background: "red" } })
  .png()
  .toBuffer();

describe("with CORS_ORIGINS, PUBLIC_IMAGES=signed and a key", () => {
  let gateway: Awaited<ReturnType<typeof startGateway>>;
  const call = (path: string, init: RequestInit = {}) => fetch(new URL(path, gateway.config.PUBLIC_URL), init);
  const authorization = { Authorization: `Bearer ${KEY}` };

  before(async () => {
    const env = { API_KEYS: `ann:${KEY},bob:0123456789abcdeg`, CORS_ORIGINS: APP, PUBLIC_IMAGES: "signed" };
    gateway = await startGateway(stack, { ...env, ALLOW_HOSTS: "127.0.0.1" });
    await gateway.work();
  });

  test("a preflight needs no key, and says what may be sent", async () => {
    const headers = { Origin: APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x" };
    const answer = await call("/v1/generations", { method: "OPTIONS", headers });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers.get("Access-Control-Allow-Origin"), APP);
    assert.match(answer.headers.get("Access-Control-Allow-Methods")!, /POST/);
    assert.match(answer.headers.get("Access-Control-Allow-Headers")!, /Authorization.*Idempotency-Key.*Prefer/);
  });

  test("every answer names the origin, errors and streams too, and no other origin than those of the setting", async () => {
    for (const path of ["/health", "/v1/models", "/v1/generations/gen_0", "/nowhere"]) {
      const mine = await call(path, { headers: { Origin: APP } });
      assert.equal(mine.headers.get("Access-Control-Allow-Origin"), APP, path);
      assert.match(mine.headers.get("Access-Control-Expose-Headers")!, /Location.*Retry-After/);
      const other = await call(path, { headers: { Origin: "https://elsewhere.example" } });
      assert.equal(other.headers.get("Access-Control-Allow-Origin"), null, path);
      assert.equal(other.headers.get("Vary"), "Origin");
    }
    const foreign = { Origin: "https://elsewhere.example", "Access-Control-Request-Method": "POST" };
    const refused = await call("/v1/generations", { method: "OPTIONS", headers: foreign });
    assert.equal(refused.headers.get("Access-Control-Allow-Origin"), null);
  });

  test("the dialects' answers, refusals and pictures too", async () => {
    const headers = { ...authorization, "Content-Type": "application/json", Origin: APP };
    const send = (path: string, body: object, more = {}) =>
      call(path, { method: "POST", headers: { ...headers, ...more }, body: JSON.stringify(body) });
    const tiny = { prompt: "x", num_inference_steps: 1 };
    const opened: string[] = [];
    for (const [path, body, picture] of [
      ["/v1/images/generations", { ...tiny, response_format: "url" }, (made) => made.data[0].url],
      ["/replicate/v1/predictions", { version: "base", input: tiny }, (made) => made.output[0]],
      ["/sdapi/v1/txt2img", { prompt: "x", steps: 1 }, () => undefined],
      // biome-ignore lint/suspicious/noExplicitAny: whatever the other system's shape is
    ] as [string, object, (made: any) => string | undefined][]) {
      const made = await send(path, body, { Prefer: "wait=60" });
      assert.ok(made.ok, path);
      const refused = await send(path, { foo: 1 });
      const asked = { Origin: APP, "Access-Control-Request-Method": "POST" };
      const preflight = await call(path, { method: "OPTIONS", headers: asked });
      assert.deepEqual([refused.ok, preflight.status], [false, 204], path);
      for (const answer of [made, refused, preflight]) {
        assert.equal(answer.headers.get("Access-Control-Allow-Origin"), APP, path);
      }
      opened.push(...[picture(await made.json())].filter((link) => link !== undefined));
    }
    assert.equal(opened.length, 2);
    for (const link of opened) {
      const shown = await call(link, { headers: { Origin: APP } });
      assert.deepEqual([shown.status, shown.headers.get("Access-Control-Allow-Origin")], [200, APP], link);
    }
  });

  test("a signed link opens its picture without a key until it expires, in answers, events and webhooks alike", async () => {
    const { url, next } = await receive(stack);
    const deliverer = startDeliverer(gateway.config, pino({ level: "silent" }));
    stack.defer(() => deliverer.close());
    const body = JSON.stringify({ prompt: "x", num_inference_steps: 1, webhook: { url, events: ["succeeded"] } });
    const headers = { ...authorization, "Content-Type": "application/json", Prefer: "wait=60" };
    const made = (await (await call("/v1/generations", { method: "POST", headers, body })).json()) as Generation;
    const image = made.images[0]!;
    const events = await (await call(`/v1/generations/${made.id}/events`, { headers: authorization })).text();
    const told = JSON.parse((await next()).body);
    assert.ok(events.includes(image.url), "the events have the link");
    assert.equal(told.data.images[0].url, image.url);

    const picture = await call(image.url, { headers: { Origin: APP } });
    assert.equal(picture.status, 200);
    assert.equal(picture.headers.get("Access-Control-Allow-Origin"), APP);
    assert.equal(
      createHash("sha256")
        .update(Buffer.from(await picture.arrayBuffer()))
        .digest("hex"),
      image.sha256,
    );
    const link = new URL(image.url);
    const expires = Number(link.searchParams.get("expires")) - Date.now() / 1000;
    assert.ok(expires > 3599 && expires <= 7200, `it is good for ${expires} s`);

    const codeOf = async (change: (url: URL) => void) => {
      const changed = new URL(link);
      change(changed);
      const answer = await call(changed.href);
      return [answer.status, ((await answer.json()) as Problem).code];
    };
    const later = (url: URL) => url.searchParams.set("expires", String(Number(url.searchParams.get("expires")) + 1));
    assert.deepEqual(await codeOf(later), [403, "link_forged"]);
    assert.deepEqual(await codeOf((url) => (url.pathname = url.pathname.replace(/0$/, "1"))), [403, "link_forged"]);
    assert.deepEqual(await codeOf((url) => (url.search = "")), [401, "unauthorized"]);
    assert.deepEqual(await codeOf((url) => (url.pathname = `/v1/generations/${made.id}`)), [401, "unauthorized"]);
    const clock = mock.method(RedisClock.prototype, "now", () => (Number(link.searchParams.get("expires")) + 1) * 1000);
    try {
      assert.deepEqual(await codeOf(() => {}), [403, "link_expired"]);
    } finally {
      clock.mock.restore();
    }
    await until("it to be deleted", async () => {
      const gone = await call(`/v1/generations/${made.id}`, { method: "DELETE", headers: authorization });
      return gone.status === 204 || undefined;
    });
    assert.deepEqual(await codeOf(() => {}), [404, "not_found"]);
  });
});

describe("signed links of other pictures open without a key, and without their signature do not", () => {
  const authorization = { Authorization: `Bearer ${KEY}` };
  const image = `data:image/png;base64,${PNG.toString("base64")}`;
  const env = { API_KEYS: `ann:${KEY}`, PUBLIC_IMAGES: "signed" };
  const opens = async (links: string[]) => {
    for (const link of links) {
      const { status, headers } = await fetch(link);
      assert.deepEqual([status, headers.get("Content-Type")], [200, "image/png"], link);
      const [path] = link.split(/[?&]expires/);
      assert.equal((await fetch(path!)).status, 401, path);
    }
  };

  test("maps: of a generation's controls, and of annotations", async () => {
    const { http, work } = await startGateway(stack, env);
    await work();
    const post = async (path: string, body: object) =>
      (await http.post(path).set(authorization).set("Prefer", "wait=60").send(body).expect(200)).body;
    const control = { controlnet: "canny", annotator: "canny", image };
    const request = { prompt: "x", num_inference_steps: 1, width: 64, height: 64, controls: [control] };
    const { images, controls } = await post("/v1/generations", request);
    const annotation = await post("/v1/annotations", { annotator: "canny", image });
    const links = [images, controls, annotation.images].map(([first]) => first.url as string);
    assert.equal(links.length, 3);
    await opens(links);
  });

  test("a training's curve, and what it shows", async () => {
    const { http, offer, connection, config } = await startGateway(stack, env);
    await offer(CATALOG);
    const body = { base: "base", name: "circles", dataset: "folder:circles", max_train_steps: 10 };
    const { id } = (await http.post("/v1/trainings").set(authorization).send(body).expect(202)).body;
    const claimed = (await claimJob<TrainingRecord>(connection, id))!;
    const step = { step: 2, total: 10, loss: 0.5, learning_rate: 1e-5, validation: [{ step: 2, index: 0 }] };
    await reportStep(connection, claimed, step);
    const storage = openStorage(config);
    for (const key of [validationKey(id, 2, 0), lossKey(id, "png")]) await storage.put(key, PNG);
    const { body: training } = await http.get(`/v1/trainings/${id}`).set(authorization);
    await opens([training.validation[0].url, training.loss_png]);
    assert.equal((await fetch(training.loss_csv)).status, 401, "no picture");
  });
});

test("without CORS_ORIGINS and PUBLIC_IMAGES no other origin is let in, and no link is signed", async () => {
  const { http, config } = await startGateway(stack);
  const { headers } = await fetch(`${config.PUBLIC_URL}/health`, { headers: { Origin: APP } });
  assert.equal(headers.get("Access-Control-Allow-Origin"), null);
  assert.equal((await http.get("/health")).status, 200);
});

/** Addresses as clients and proxies spell them: slashes, prefixes, methods that are not there, HEAD and OPTIONS. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import sharp from "sharp";
import { openLog } from "../../src/observe/log.ts";
import { startDeliverer } from "../../workers/deliver/worker.ts";
import { CATALOG, log as silence, type log as silent, startGateway } from "../support/gateway.ts";
import { receive } from "../support/receive.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
  .png()
  .toBuffer()
  .then((bytes) => new Uint8Array(bytes));
const gateway = await startGateway(stack);
await gateway.offer(CATALOG);
const url = gateway.config.PUBLIC_URL;
const ask = (method: string, path: string, init: RequestInit = {}, at = url) =>
  fetch(`${at}${path}`, { method, redirect: "manual", ...init });

describe("a path that is there", () => {
  for (const path of ["/v1/models/", "//v1/models", "/v1//models", "/v1/models/?", "/health/"]) {
    test(`is found as ${path}`, async () => {
      assert.equal((await ask("GET", path)).status, 200);
    });
  }

  for (const [method, path, allow] of [
    ["PUT", "/v1/generations", "GET, HEAD, OPTIONS, POST"],
    ["PATCH", "/v1/generations/gen_1", "DELETE, GET, HEAD, OPTIONS"],
    ["GET", "/v1/generations/gen_1/cancel", "OPTIONS, POST"],
    ["DELETE", "/v1/models", "GET, HEAD, OPTIONS"],
    ["POST", "/v1/generations/gen_1/images/0/", "GET, HEAD, OPTIONS"],
    ["POST", "/docs/", "GET, HEAD, OPTIONS"],
    ["DELETE", "/", "GET, HEAD, OPTIONS"],
  ] as const) {
    test(`${method} ${path}: 405 with what it has`, async () => {
      const answer = await ask(
        method,
        path,
        method === "GET" ? {} : { body: "x", headers: { "Content-Type": "text/x" } },
      );
      assert.deepEqual([answer.status, answer.headers.get("allow")], [405, allow]);
      assert.equal(((await answer.json()) as { code: string }).code, "method_not_allowed");
    });
  }

  test("OPTIONS tells its methods", async () => {
    const answer = await ask("OPTIONS", "/v1/generations");
    assert.deepEqual([answer.status, answer.headers.get("allow")], [204, "GET, HEAD, OPTIONS, POST"]);
  });

  test("HEAD is GET without its body", async () => {
    for (const path of ["/v1/models", "/v1/schedulers/ddim", "/health", "/openapi.json"]) {
      const [head, get] = [await ask("HEAD", path), await ask("GET", path)];
      assert.equal(head.status, 200);
      assert.equal(head.headers.get("content-length"), String(Buffer.byteLength(await get.text())));
    }
  });

  test("what is not there is 404, whatever the body", async () => {
    for (const path of ["/v1/nothing", "/v2/models", "/v1/generations/gen_1/images"]) {
      const answer = await ask("POST", path, { body: "{", headers: { "Content-Type": "application/json" } });
      assert.equal(answer.status, 404, path);
    }
  });
});

describe("behind a proxy that adds a path", async () => {
  const behind = await startGateway(stack, { PUBLIC_URL: "https://pictures.example/api/v3/" });
  await behind.offer(CATALOG);
  const here = `http://127.0.0.1:${behind.config.PORT}`;
  const create = async (path: string) => {
    const headers = {
      "Content-Type": "application/json",
      "X-Forwarded-Host": "evil.example",
      "X-Forwarded-Proto": "ftp",
    };
    return ask("POST", path, { body: '{"prompt":"x"}', headers }, here);
  };

  test("and takes it away, or passes it on: both are understood, and links are to the outside", async () => {
    for (const path of ["/v1/generations", "/api/v3/v1/generations"]) {
      const answer = await create(path);
      const { id } = (await answer.json()) as { id: string };
      assert.equal(answer.status, 202);
      assert.equal(answer.headers.get("location"), `https://pictures.example/api/v3/v1/generations/${id}`);
    }
    assert.equal((await ask("GET", "/api/v3", {}, here)).status, 200);
    assert.equal((await ask("GET", "/api/v3?x=1", {}, here)).status, 200);
    assert.equal((await ask("GET", "/api/v31/v1/models", {}, here)).status, 404);
  });

  test("the document says where its operations lie, and /docs finds its files without a slash too", async () => {
    const document = (await (await ask("GET", "/openapi.json", {}, here)).json()) as { servers: unknown };
    assert.deepEqual(document.servers, [{ url: "https://pictures.example/api/v3" }]);
    const redirected = await ask("GET", "/docs?a=1", {}, here);
    assert.deepEqual([redirected.status, redirected.headers.get("location")], [302, "docs/?a=1"]);
    const page = await (await ask("GET", "/docs/", {}, here)).text();
    for (const [, file] of page.matchAll(/(?:src|href)="([^"]+)"/g)) {
      assert.match(file!, /^\.\//);
      assert.equal((await ask("GET", `/docs/${file}`, {}, here)).status, 200, file);
    }
  });
});

describe("where PUBLIC_URL is not set, links are to where a trusted proxy was asked", async () => {
  const trusting = await startGateway(stack, {
    TRUST_PROXY: "loopback",
    PUBLIC_IMAGES: "signed",
    RATE_LIMIT: "50",
    ALLOW_HOSTS: "127.0.0.1",
  });
  await trusting.offer(CATALOG);
  const own = trusting.config.PUBLIC_URL;
  const from = async (forwarded: Record<string, string>, at = own) => {
    const headers = { "Content-Type": "application/json" };
    for (const [name, value] of Object.entries(forwarded)) Object.assign(headers, { [`X-Forwarded-${name}`]: value });
    const answer = await ask("POST", "/v1/generations", { body: '{"prompt":"x"}', headers }, at);
    assert.equal(answer.status, 202);
    return answer.headers.get("location")!.replace(/\/v1\/.*/, "");
  };

  for (const [name, headers, base] of [
    ["scheme and host", { Proto: "https", Host: "pictures.example" }, "https://pictures.example"],
    ["the nearest of several", { Proto: "ftp, https", Host: "evil.example, a.example" }, "https://a.example"],
    ["a path", { Proto: "https", Host: "a.example", Prefix: "/art/v2/" }, "https://a.example/art/v2"],
    ["a port", { Proto: "https", Host: "a.example", Port: "8443" }, "https://a.example:8443"],
    ["the port that the scheme has", { Proto: "https", Host: "a.example:443", Port: "443" }, "https://a.example"],
    ["the scheme alone", { Proto: "https" }, own.replace("http:", "https:")],
    ["nothing", {}, own],
    ["no host", { Proto: "https", Host: "a.example/evil?" }, own],
    ["no scheme", { Proto: "javascript", Host: "a.example" }, own],
    ["no path", { Host: "a.example", Prefix: "//evil.example" }, "http://a.example"],
  ] as const) {
    test(name, async () => assert.equal(await from(headers), base));
  }

  test("in the document, to its page, in lists and events too", async () => {
    const headers = { "X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example", "X-Forwarded-Prefix": "/art" };
    const servers = { "/openapi.json": [{ url: "https://a.example/art" }], "/docs/json": [{ url: "/art" }] };
    for (const [path, expected] of Object.entries(servers)) {
      const document = (await (await ask("GET", path, { headers }, own)).json()) as { servers: unknown };
      assert.deepEqual(document.servers, expected, path);
    }
    assert.deepEqual((await trusting.http.get("/docs/json")).body.servers, [{ url: "/" }]);
  });

  test("in webhooks, whenever they are sent: of our own API and of Replicate's", async () => {
    const { url: hook, next } = await receive(stack);
    const deliverer = startDeliverer(trusting.config, silence);
    stack.defer(() => deliverer.close());
    const headers = {
      "Content-Type": "application/json",
      "X-Forwarded-Proto": "https",
      "X-Forwarded-Host": "a.example",
      "X-Forwarded-Prefix": "/art",
    };
    const upload = await ask("POST", "/v1/uploads", { headers: { "Content-Type": "image/png" }, body: png }, own);
    const { id: image } = (await upload.json()) as { id: string };
    const annotation = { annotator: "invert", image: `upload:${image}`, webhook: { url: hook, events: ["succeeded"] } };
    await ask("POST", "/v1/annotations", { headers, body: JSON.stringify(annotation) }, own);
    const prediction = { version: "base", input: { prompt: "x", num_inference_steps: 1 }, webhook: hook };
    const body = JSON.stringify({ ...prediction, webhook_events_filter: ["completed"] });
    await ask("POST", "/replicate/v1/predictions", { headers, body }, own);
    await trusting.work();
    const told = [JSON.parse((await next()).body), JSON.parse((await next()).body)];
    const map = told.find(({ type }) => type === "annotation.succeeded");
    assert.match(map.data.images[0].url, /^https:\/\/a\.example\/art\/v1\/annotations\/.*signature=/);
    const { output } = told.find(({ source }) => source === "api");
    assert.match(output[0], /^https:\/\/a\.example\/art\/replicate\/v1\/predictions\//);
  });

  test("a page of that place may change something, one of another site may not", async () => {
    const asked = (origin: string) =>
      ask(
        "POST",
        "/v1/webhooks/secret/rotate",
        { headers: { Origin: origin, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example" } },
        own,
      );
    assert.equal((await asked("https://a.example")).status, 200);
    assert.equal((await asked("https://evil.example")).status, 403);
  });

  test("RATE_LIMIT counts by the client's address", async () => {
    const left = async (ip: string) => {
      const answer = await ask("POST", "/v1/uploads", { headers: { "X-Forwarded-For": ip } }, own);
      return answer.headers.get("ratelimit-remaining");
    };
    assert.deepEqual(
      [await left("203.0.113.1"), await left("203.0.113.1"), await left("203.0.113.2")],
      ["49", "48", "49"],
    );
  });

  test("of anybody else they mean nothing", async () => {
    const distant = await startGateway(stack, { TRUST_PROXY: "10.0.0.0/8" });
    await distant.offer(CATALOG);
    const base = await from({ Proto: "https", Host: "evil.example", Prefix: "/x" }, distant.config.PUBLIC_URL);
    assert.equal(base, distant.config.PUBLIC_URL);
  });
});

test("X-Forwarded-For is believed of TRUST_PROXY alone", async () => {
  for (const [TRUST_PROXY, ip] of [
    ["", "127.0.0.1"],
    ["10.0.0.0/8", "127.0.0.1"],
    ["127.0.0.1,10.0.0.0/8", "203.0.113.9"],
    ["loopback", "10.1.2.3"],
  ] as const) {
    const lines: string[] = [];
    const log = openLog("gateway", { LOG_LEVEL: "info" }, { write: (line) => void lines.push(line) });
    const logged = await startGateway(stack, { TRUST_PROXY }, log as unknown as typeof silent);
    await ask(
      "GET",
      "/v1/schedulers",
      { headers: { "X-Forwarded-For": "198.51.100.7, 203.0.113.9, 10.1.2.3" } },
      logged.config.PUBLIC_URL,
    );
    const asked = lines.map((line) => JSON.parse(line)).find(({ req }) => req?.url === "/v1/schedulers");
    assert.equal(asked.req.ip, ip, TRUST_PROXY);
  }
});

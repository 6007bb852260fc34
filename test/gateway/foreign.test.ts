/** Without keys: what reaches the gateway by way of a browser, from a page of somebody else. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { request } from "undici";
import { CATALOG, startGateway } from "../support/gateway.ts";
import { until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const gateway = await startGateway(stack, { PUBLIC_URL: "https://pictures.example/sub" });
await gateway.offer(CATALOG);
const { PORT } = gateway.config;

async function ask(method: "GET" | "POST" | "DELETE", path: string, headers: Record<string, string>) {
  const body = method === "POST" ? '{"prompt": "x"}' : null;
  const all = { "content-type": "application/json", ...headers };
  const answer = await request(`http://127.0.0.1:${PORT}${path}`, { method, headers: all, body });
  const text = await answer.body.text();
  return { status: answer.statusCode, code: text.startsWith("{") ? JSON.parse(text).code : undefined };
}

test("a name that is neither this machine's nor that of PUBLIC_URL is answered by nothing", async () => {
  for (const host of [
    "evil.example",
    `evil.example:${PORT}`,
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "[fe80::1]",
    "a b",
  ]) {
    for (const path of ["/v1/webhooks/secret", "/", "/metrics", "/nowhere"]) {
      assert.deepEqual(await ask("GET", path, { host }), { status: 403, code: "foreign_host" }, `${host} ${path}`);
    }
  }
  for (const host of [
    `127.0.0.1:${PORT}`,
    "localhost",
    `LOCALHOST:${PORT}`,
    "[::1]:1234",
    "127.8.8.8",
    "pictures.example",
  ]) {
    assert.equal((await ask("GET", "/v1/webhooks/secret", { host })).status, 200, host);
  }
});

test("a page of another site changes nothing", async () => {
  const secret = async () => (await fetch(`http://127.0.0.1:${PORT}/v1/webhooks/secret`)).text();
  const before = await secret();
  for (const headers of [
    { origin: "https://evil.example" },
    { origin: "null" },
    { origin: `http://127.0.0.1:${PORT + 1}` },
    { origin: "http://pictures.example" },
    { "sec-fetch-site": "cross-site" },
    { origin: "https://evil.example", "sec-fetch-site": "same-origin" },
  ] as Record<string, string>[]) {
    for (const path of ["/v1/webhooks/secret/rotate", "/v1/generations", "/v1/uploads"]) {
      const answer = await ask("POST", path, headers);
      assert.deepEqual(answer, { status: 403, code: "foreign_origin" }, `${path} ${JSON.stringify(headers)}`);
    }
    assert.equal((await ask("DELETE", "/v1/generations/gen_0", headers)).status, 403);
    assert.equal((await ask("GET", "/v1/models", headers)).status, 200); // it may ask, and cannot read the answer
  }
  assert.equal(await secret(), before);
});

test("its own page, that of PUBLIC_URL, and what is no browser may", async () => {
  for (const headers of [
    {},
    { origin: `http://127.0.0.1:${PORT}`, "sec-fetch-site": "same-origin" },
    { host: `localhost:${PORT}`, origin: `http://localhost:${PORT}` },
    { host: "pictures.example", origin: "https://pictures.example", "sec-fetch-site": "same-origin" },
    { host: "127.0.0.1", origin: "https://pictures.example" },
    { "sec-fetch-site": "none" },
  ] as Record<string, string>[]) {
    assert.equal((await ask("POST", "/v1/generations", headers)).status, 202, JSON.stringify(headers));
  }
});

test("with keys any name will do, for a page has no key of its own", async () => {
  const key = "k".repeat(16);
  const other = await startGateway(stack, { API_KEYS: `ann:${key}` });
  const headers = { host: "pictures.example", origin: "https://app.example", authorization: `Bearer ${key}` };
  const url = `http://127.0.0.1:${other.config.PORT}/v1/webhooks/secret/rotate`;
  // A gateway that has just begun may not have its Redis yet: 503, but never 403.
  await until("the gateway to be ready", async () => {
    const { statusCode } = await request(url, { method: "POST", headers });
    assert.ok([200, 503].includes(statusCode), `${statusCode}`);
    return statusCode === 200 || undefined;
  });
});

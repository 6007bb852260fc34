/** Whose requests are handled when one owner sends very many: each owner's wait for one another, and for nobody else's. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { after, test } from "node:test";
import type { Bounds } from "../../src/gateway/bounds.ts";
import { CATALOG, log, startGateway } from "../support/gateway.ts";
import { until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const [ANN, BOB] = ["a".repeat(16), "b".repeat(16)];

async function start(bounds: Partial<Bounds> = {}) {
  const env = { API_KEYS: `ann:${ANN},bob:${BOB}`, ALLOW_HOSTS: "127.0.0.1" };
  const gateway = await startGateway(stack, env, log, bounds);
  await gateway.offer(CATALOG);
  const url = gateway.config.PUBLIC_URL;
  const ask = (key: string, path: string, more: RequestInit & { headers?: Record<string, string> } = {}) =>
    fetch(`${url}${path}`, { ...more, headers: { Authorization: `Bearer ${key}`, ...more.headers } });
  const generate = (key: string, request: object, headers = {}, signal: AbortSignal | null = null) =>
    ask(key, "/v1/generations", {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify({ prompt: "x", ...request }),
      signal,
    });
  return { ...gateway, ask, generate };
}

/** Somebody's server of images, which answers when it is told to. */
async function slowImages() {
  const asked: ServerResponse[] = [];
  const server: Server = createServer((_request, answer) => void asked.push(answer)).listen(0, "127.0.0.1");
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, "listening");
  const image = `http://127.0.0.1:${(server.address() as AddressInfo).port}/image.png`;
  const refuse = () => {
    for (const answer of asked) answer.writeHead(404).end();
  };
  return { image, asked, refuse };
}

/** What becomes of it meanwhile: its status, or null as long as there is none. */
function watch(answer: Promise<Response>) {
  const seen: { status: number | null } = { status: null };
  answer.then(
    ({ status }) => (seen.status = status),
    () => {},
  );
  return seen;
}

test("requests that are sent without waiting for answers are answered in their order, and keep nobody waiting", async () => {
  const { config, ask } = await start();
  const count = 600; // Node reads them at once
  const socket = connect(config.PORT, config.HOST);
  stack.defer(() => void socket.destroy());
  let text = "";
  socket.on("data", (bytes: Buffer) => (text += bytes.toString("latin1")));
  const head = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ANN}\r\n\r\n`;
  const answered = () => text.match(/HTTP\/1\.1 \d+/g) ?? [];
  socket.write(`${head("/v1/generations").repeat(count)}${head("/v1/uploads/last")}`);
  await until("the first answer", async () => answered().length > 0);
  assert.equal((await ask(BOB, "/v1/generations")).status, 200);
  const before = answered().length;
  await until("all answers", async () => answered().length === count + 1);
  assert.ok(before < count / 2, `${before} of ${count} were answered before another key's one`);
  assert.deepEqual([...new Set(answered().slice(0, -1))], ["HTTP/1.1 200"]);
  assert.equal(answered().at(-1), "HTTP/1.1 404");
});

test("a request waits until the owner's others that change something are answered; reading, and other owners, do not", async () => {
  const { ask, generate } = await start({ readingOfOwner: 1, changingOfOwner: 1, turnMs: 1e6 });
  const { image, asked, refuse } = await slowImages();
  const first = generate(ANN, { controls: [{ controlnet: "canny", image }] });
  await until("the image is asked for", async () => asked.length === 1);
  const second = generate(ANN, {});
  const seen = watch(second);
  const leaving = new AbortController();
  const left = generate(ANN, {}, {}, leaving.signal);
  assert.equal((await generate(BOB, {})).status, 202);
  assert.equal((await ask(ANN, "/v1/generations")).status, 200);
  leaving.abort();
  await assert.rejects(left);
  assert.equal(seen.status, null);
  refuse();
  assert.equal((await first).status, 422);
  assert.equal((await second).status, 202);
  const { data } = (await (await ask(ANN, "/v1/generations")).json()) as { data: object[] };
  assert.equal(data.length, 1, "who has left while waiting has no effect");
});

test("who waits for an end, or follows events, keeps none of the owner's requests waiting", async () => {
  const { ask, generate } = await start({ readingOfOwner: 1, changingOfOwner: 1, turnMs: 1e6 });
  const gone = new AbortController();
  const waits = generate(ANN, {}, { Prefer: "wait=60" }, gone.signal);
  const accepted = await until("it is accepted", async () => {
    const { data } = (await (await ask(ANN, "/v1/generations")).json()) as { data: { id: string }[] };
    return data[0];
  });
  assert.equal((await generate(ANN, {})).status, 202);
  const follows = await ask(ANN, `/v1/generations/${accepted.id}/events`, { signal: gone.signal });
  assert.equal(follows.status, 200);
  assert.equal((await ask(ANN, "/v1/generations")).status, 200);
  gone.abort();
  await assert.rejects(waits);
});

test("a request that takes long counts no more after a while", async () => {
  const { generate } = await start({ readingOfOwner: 1, changingOfOwner: 1, turnMs: 50 });
  const { image, asked, refuse } = await slowImages();
  const first = generate(ANN, { controls: [{ controlnet: "canny", image }] });
  await until("the image is asked for", async () => asked.length === 1);
  assert.equal((await generate(ANN, {})).status, 202);
  refuse();
  assert.equal((await first).status, 422);
});

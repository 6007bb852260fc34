/** What a gateway says of its Redis and of its clock, and whose clock counts. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { pino } from "pino";
import sharp from "sharp";
import { conforms } from "../support/conforms.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";
import { until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const DAYS_MS = 3 * 24 * 3600_000;
const lines: string[] = [];
const log = pino({ level: "warn" }, { write: (line) => void lines.push(line) });
const said = (what: RegExp) => until(String(what), async () => lines.some((line) => what.test(line)));
const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
  .png()
  .toBuffer();

const gateway = await startGateway(stack, { UPLOAD_TTL: "3600" }, log);
await gateway.offer(CATALOG);
const upload = async () => conforms(await gateway.http.post("/v1/uploads").type("image/png").send(png)).body;

test("a gateway whose clock is days ahead of Redis' warns of it, and goes by Redis'", async (t) => {
  const before = await upload();
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() + DAYS_MS });
  const { DATA_DIR } = gateway.config;
  const other = await startGateway(stack, { DATA_DIR }, log); // its sweep of uploads begins with it
  await said(/clock is 259\d\d\d\.?\d* s ahead of Redis', which counts/);
  assert.equal(conforms(await gateway.http.get(`/v1/uploads/${before.id}`)).status, 200);
  const own = await upload();
  assert.ok(Math.abs(Date.parse(own.created_at) - Date.parse(before.created_at)) < 60_000);
  assert.equal(conforms(await other.http.get(`/v1/uploads/${own.id}`)).status, 200);
});

test("a Redis that may lose or forget what was accepted is told of, in the log and by /ready", async () => {
  await said(/Redis has no maxmemory/);
  const set = (name: string, value: string) => gateway.connection.config("SET", name, value);
  const detail = async () => {
    await gateway.offer(CATALOG); // a worker lives for seconds
    return conforms(await gateway.http.get("/ready")).body.detail;
  };
  await set("maxmemory", "200mb");
  assert.equal(await detail(), null);
  await set("appendfsync", "everysec");
  assert.match(await detail(), /appendfsync is everysec, not always/);
  await set("appendonly", "no");
  await set("maxmemory-policy", "allkeys-lru");
  assert.match(await detail(), /no append-only file .*; Redis' maxmemory-policy is allkeys-lru/);
});

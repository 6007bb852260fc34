import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { onSpan, type Span, span, tellSpan } from "../../src/observe/span.ts";

const heard: Span[] = [];
const stop: (() => void)[] = [];
const listen = () => stop.push(onSpan((one) => heard.push(one)));
afterEach(() => {
  for (const end of stop.splice(0)) end();
  heard.length = 0;
});

test("a span gives what it runs gives, and is heard at its end with its time and attributes", async () => {
  listen();
  assert.equal(await span("step", { step: 3 }, () => sleep(20, "made")), "made");
  const [{ name, attributes, parent, ms }] = heard as [Span];
  assert.deepEqual([name, attributes, parent], ["step", { step: 3 }, null]);
  assert.ok(ms! >= 19 && ms! < 5000, `${ms} ms`);
});

test("what fails is heard too, with its error, which is thrown on", async () => {
  listen();
  const error = new Error("no");
  await assert.rejects(
    span("store", {}, () => Promise.reject(error)),
    error,
  );
  await assert.rejects(
    span("store", {}, () => {
      throw error;
    }),
    error,
  );
  assert.deepEqual(
    heard.map((one) => one.error),
    [error, error],
  );
});

test("spans inside a span are its parts, whatever else runs at the same time", async () => {
  listen();
  const request = (id: string) =>
    span("request", { id }, async () => {
      await sleep(1);
      await span("load", { id }, () => sleep(1));
    });
  await Promise.all([request("a"), request("b")]);
  for (const { name, attributes, parent } of heard) {
    if (name === "load") assert.deepEqual([parent?.name, parent?.attributes.id], ["request", attributes.id]);
    else assert.equal(parent, null);
  }
  assert.deepEqual(heard.map(({ name }) => name).sort(), ["load", "load", "request", "request"]);
});

test("who has stopped listening hears no more, and what runs is run all the same", async () => {
  listen();
  stop.pop()!();
  assert.equal(await span("step", {}, () => 5), 5);
  await assert.rejects(
    span("step", {}, () => {
      throw new Error("no");
    }),
    /no/,
  );
  assert.deepEqual(heard, []);
});

test("a stage that was measured otherwise is told as a span", () => {
  listen();
  tellSpan("queue", { id: "gen_1" }, 250);
  const [{ name, ms, startedAt }] = heard as [Span];
  assert.deepEqual([name, ms], ["queue", 250]);
  assert.ok(startedAt <= performance.now() - 250);
});

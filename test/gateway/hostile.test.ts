import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, test } from "node:test";
import { conforms } from "../support/conforms.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";
import { attack, fault } from "../support/hostile/client.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

test("a client that sends what the OpenAPI document nearly allows hears nothing from 500 up", async () => {
  const gateway = await startGateway(stack, { MAX_QUEUE: "2" });
  await gateway.offer(CATALOG);
  const { sent, statuses } = await attack(gateway.config.PUBLIC_URL, 1500, 7);
  assert.ok(sent >= 1500);
  for (const status of ["200", "201", "202", "400", "404", "422", "429"]) {
    assert.ok(statuses[status], `never ${status}: ${JSON.stringify(statuses)}`);
  }
  assert.equal((await gateway.http.get("/health")).status, 200);
});

test("the hostile client tells a wrong answer from a right one", () => {
  const request = { method: "GET", path: "/v1/models?x=1" };
  assert.match(fault(request, { status: 500, type: "application/problem+json", text: "{}" })!, /500/);
  assert.match(fault(request, { status: 400, type: "text/plain", text: "no" })!, /text\/plain/);
  assert.match(fault(request, { status: 404, type: "application/problem+json", text: "{}" })!, /status 404/);
  assert.match(fault(request, { status: 200, type: "application/json; charset=utf-8", text: "{}" })!, /required/);
  assert.match(fault(request, { status: "late", type: "", text: "" })!, /no answer/);
  assert.equal(fault(request, { status: 503, type: "", text: "" }), undefined);
  const empty = '{"object": "list", "data": [], "next_cursor": null, "unavailable": []}';
  assert.equal(fault(request, { status: 200, type: "application/json; charset=utf-8", text: empty }), undefined);
});

const many = (count: number, item: (i: number) => string) => Array.from({ length: count }, (_, i) => item(i)).join();
for (const [what, body] of [
  ["40,000 events of a webhook", `{"prompt":"","webhook":{"url":"https://a.b","events":[${many(4e4, () => "0")}]}}`],
  ["40,000 unknown fields", `{"prompt":"",${many(4e4, (i) => `"${i}":0`)}}`],
  ["40,000 unknown fields of a control", `{"prompt":"","controls":[{${many(4e4, (i) => `"${i}":0`)}}]}`],
  ["an unknown field with a long name", `{"prompt":"","${"x".repeat(5e5)}":0}`],
  ["metadata of 20,000 levels", `{"prompt":"","metadata":{"a":${"[".repeat(20_000)}${"]".repeat(20_000)}}}`],
] as const) {
  test(`${what} is refused in few words`, async () => {
    const gateway = await startGateway(stack);
    await gateway.offer(CATALOG);
    for (const headers of [{}, { "Idempotency-Key": "k" }]) {
      const request = gateway.http.post("/v1/generations").type("json").set(headers);
      const answer = conforms(await request.send(body));
      assert.equal(answer.status, 400);
      assert.ok(answer.text.length < 10_000, `${answer.text.length} characters`);
    }
  });
}

for (const [what, bytes, status] of [
  ["what is no HTTP", "hello\r\n\r\n", 400],
  ["a head without end", `GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}\r\n\r\n`, 431],
  [
    "two lengths",
    "POST /v1/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    400,
  ],
] as const) {
  test(`${what} is answered with a problem, and the connection closed`, async () => {
    const gateway = await startGateway(stack);
    const socket = connect(gateway.config.PORT, gateway.config.HOST);
    let text = "";
    socket.on("data", (chunk) => (text += chunk));
    socket.write(bytes);
    await new Promise((resolve) => socket.on("close", resolve));
    assert.match(text, new RegExp(`^HTTP/1.1 ${status} `));
    assert.match(text, /Content-Type: application\/problem\+json/);
    assert.equal(JSON.parse(text.slice(text.indexOf("\r\n\r\n"))).status, status);
  });
}

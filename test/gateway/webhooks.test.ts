import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { claimJob, finish } from "../../src/jobs/attempt.ts";
import type { WebhookDelivery } from "../../src/schema/webhook.ts";
import { conforms } from "../support/conforms.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const gateway = await startGateway(stack, { ALLOW_HOSTS: "10.0.0.1:9000" });
await gateway.offer(CATALOG);
const { http, connection } = gateway;

const ALLOWED = "http://10.0.0.1:9000/hook"; // nothing is sent: no webhook worker runs here
const post = async (webhook: unknown) => conforms(await http.post("/v1/generations").send({ prompt: "x", webhook }));

/** A generation that has started and failed, and has told of both. */
async function fail(): Promise<string> {
  const { id } = (await post({ url: ALLOWED, events: ["started", "failed"] })).body;
  await finish(connection, (await claimJob(connection, id))!, {
    status: "failed",
    error: { code: "test", message: "" },
  });
  return id;
}

const list = async (query: object) => conforms(await http.get("/v1/webhooks/deliveries").query(query));
const idsOf = (data: WebhookDelivery[]) => data.map(({ id }) => id);

describe("a webhook of a request", () => {
  test("is echoed with its default: the three ends", async () => {
    const { body } = await post({ url: ALLOWED });
    assert.deepEqual(body.request.webhook, { url: ALLOWED, events: ["succeeded", "failed", "canceled"] });
    assert.equal((await post(undefined)).body.request.webhook, null);
  });

  for (const [what, webhook, path, says] of [
    ["no address", { url: "nowhere" }, "webhook.url", /https: address/],
    ["another scheme", { url: "ftp://example.com/" }, "webhook.url", /https: address/],
    ["a password", { url: "https://a:b@example.com/" }, "webhook.url", /user name or password/],
    ["an event that there is not", { url: ALLOWED, events: ["progress"] }, "webhook.events[0]", /"succeeded"/],
    ["an event twice", { url: ALLOWED, events: ["failed", "failed"] }, "webhook.events", /each event once/],
    ["no event", { url: ALLOWED, events: [] }, "webhook.events", /./],
    ["an unknown field", { url: ALLOWED, secret: "x" }, "webhook.secret", /unknown field/],
  ] as const) {
    test(`with ${what} is refused (400)`, async () => {
      const answer = await post(webhook);
      assert.equal(answer.status, 400, answer.text);
      assert.equal(answer.body.errors[0].path, path);
      assert.match(answer.body.errors[0].message, says);
    });
  }

  for (const url of [
    "http://example.com/",
    "https://127.0.0.1/",
    "https://169.254.169.254/",
    "https://10.0.0.1:9001/",
  ]) {
    test(`to ${url} is refused (422): nothing may be sent there`, async () => {
      const answer = await post({ url });
      assert.equal(answer.status, 422, answer.text);
      assert.equal(answer.body.code, "address_refused");
      assert.equal(answer.body.errors[0].path, "webhook.url");
    });
  }
});

test("the secret is the same each time until it is replaced, and no cache keeps it", async () => {
  const first = conforms(await http.get("/v1/webhooks/secret"));
  assert.match(first.body.key, /^whsec_[A-Za-z0-9+/]{43}=$/); // 256 bits
  assert.equal(first.headers["cache-control"], "no-store");
  assert.equal((await http.get("/v1/webhooks/secret")).body.key, first.body.key);
  const rotated = conforms(await http.post("/v1/webhooks/secret/rotate"));
  assert.equal(rotated.headers["cache-control"], "no-store");
  assert.notEqual(rotated.body.key, first.body.key);
  assert.equal((await http.get("/v1/webhooks/secret")).body.key, rotated.body.key);
});

test("deliveries are listed newest first, of one generation or of all, page by page", async () => {
  const ids = [await fail(), await fail(), await fail()];
  const [failed, started, ...more] = (await list({ generation: ids[1] })).body.data as WebhookDelivery[];
  assert.equal(more.length, 0);
  assert.partialDeepStrictEqual(failed, {
    object: "webhook_delivery",
    generation: ids[1]!,
    type: "generation.failed",
    url: ALLOWED,
    status: "pending",
    attempts: [],
    next_attempt_at: failed!.created_at,
  });
  assert.equal(started?.type, "generation.started");

  const all = (await list({})).body;
  assert.deepEqual(
    all.data.map((delivery: WebhookDelivery) => [delivery.generation, delivery.type]),
    ids.toReversed().flatMap((id) => [
      [id, "generation.failed"],
      [id, "generation.started"],
    ]),
  );
  assert.equal(all.next_cursor, null);
  const pages: WebhookDelivery[] = [];
  let cursor: string | null = null;
  do {
    const page: { data: WebhookDelivery[]; next_cursor: string | null } = (
      await list({ limit: 4, ...(cursor !== null && { cursor }) })
    ).body;
    assert.ok(page.data.length > 0, "an empty page");
    pages.push(...page.data);
    cursor = page.next_cursor;
  } while (cursor !== null);
  assert.deepEqual(idsOf(pages), idsOf(all.data));
  assert.equal((await list({ cursor: "x" })).status, 400);
  assert.equal((await list({ generation: ids[1], training: "trn_0" })).status, 400);
  assert.deepEqual((await list({ generation: "gen_0" })).body.data, []);
});

test("a delivery that does not exist cannot be replayed", async () => {
  assert.equal(conforms(await http.post("/v1/webhooks/deliveries/evt_0/replay")).status, 404);
});

test("a replay reaches deliveries and no other key of Redis", async () => {
  const id = await fail();
  const [delivery] = (await list({ generation: id })).body.data as WebhookDelivery[];
  for (const suffix of [":generation", ":attempts"]) {
    const path = `/v1/webhooks/deliveries/${delivery!.id}${suffix}/replay`;
    assert.equal(conforms(await http.post(path)).status, 404);
  }
  assert.equal((await connection.hgetall(`webhook:${delivery!.id}:generation`)).status, "failed");
});

test("deliveries go with their generation, and leave nothing in Redis", async () => {
  const before = await connection.keys("webhook*");
  const listed = idsOf((await list({})).body.data);
  const id = await fail();
  assert.equal(conforms(await http.delete(`/v1/generations/${id}`)).status, 204);
  assert.deepEqual((await connection.keys("webhook*")).toSorted(), before.toSorted());
  assert.deepEqual(idsOf((await list({})).body.data), listed);
  const due = await connection.zrange("webhooks:due", "0", "-1");
  assert.deepEqual(due.toSorted(), listed.toSorted());
});

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { after, describe, test } from "node:test";
import { Webhook } from "standardwebhooks";
import { OWNER_WITHOUT_KEYS } from "../../../src/config/api-keys.ts";
import { claimJob, finish, type Outcome } from "../../../src/jobs/attempt.ts";
import { removeRecords } from "../../../src/jobs/remove.ts";
import type { Generation } from "../../../src/schema/generation.ts";
import type { WebhookDelivery } from "../../../src/schema/webhook.ts";
import { openStorage } from "../../../src/storage/open.ts";
import { POLICY, type Policy } from "../../../workers/deliver/policy.ts";
import { startDeliverer } from "../../../workers/deliver/worker.ts";
import { conforms, conformsToItsType } from "../../support/conforms.ts";
import { CATALOG, log, startGateway } from "../../support/gateway.ts";
import { kill, startNode, until } from "../../support/processes.ts";
import { QUICK } from "../../support/quick-deliver.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const gateway = await startGateway(stack, { ALLOW_HOSTS: "127.0.0.1" });
await gateway.offer(CATALOG);

const SUCCESS: Outcome = {
  status: "succeeded",
  images: [
    {
      seed: 7,
      width: 64,
      height: 48,
      content_type: "image/png",
      precision: "float32",
      sha256: "0".repeat(64),
      flagged: null,
    },
  ],
  controls: [],
  warnings: [],
  metrics: {
    queue_ms: 1,
    load_ms: 0,
    annotate_ms: 0,
    encode_ms: 1,
    denoise_ms: 1,
    decode_ms: 1,
    steps_per_second: 20,
  },
};
/** Soon tried again, with time for an answer on a machine that others keep busy. */
const PATIENT: Policy = { ...QUICK, timeLimit: 50_000, lease: 60_000 };
const FAILURE: Outcome = { status: "failed", error: { code: "test", message: "it was to fail" } };

interface Received {
  headers: Record<string, string>;
  body: string;
  at: number;
}

/** An endpoint; `answer` gets the number of the request, from 0. */
async function listen(answer: (n: number, response: ServerResponse, request: IncomingMessage) => void) {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const at = Date.now();
    const body = await text(request);
    const n = received.push({ headers: request.headers as Record<string, string>, body, at }) - 1;
    answer(n, response, request);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const end = () => {
    server.closeAllConnections();
    server.close();
  };
  stack.defer(end);
  return { received, end, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` };
}

const answering = (...statuses: number[]) =>
  listen((n, response) => response.writeHead(statuses[Math.min(n, statuses.length - 1)]!).end("so be it"));

/** A generation that goes through all its states, without the networks. */
async function generate(webhook: { url: string; events?: string[] }, outcome = SUCCESS): Promise<string> {
  const answer = conforms(await gateway.http.post("/v1/generations").send({ prompt: "x", webhook }));
  assert.equal(answer.status, 202, answer.text);
  const claimed = await claimJob(gateway.connection, answer.body.id);
  await finish(gateway.connection, claimed!, outcome);
  return answer.body.id;
}

async function deliveries(generation: string): Promise<WebhookDelivery[]> {
  const answer = conforms(await gateway.http.get("/v1/webhooks/deliveries").query({ generation }));
  return answer.body.data;
}

/** The latest delivery of a generation, when it is over. */
const settled = (generation: string) =>
  until("the end of the delivery", async () => {
    const [delivery] = await deliveries(generation);
    return delivery!.status === "pending" ? undefined : delivery;
  });

async function forget(generation: string): Promise<void> {
  const owned = [{ id: generation, owner: OWNER_WITHOUT_KEYS }];
  await removeRecords(gateway.connection, openStorage(gateway.config), owned, false);
}

/** A webhook worker of this process for one test. */
function deliver(t: { after: (end: () => Promise<void>) => void }, policy: Policy = PATIENT) {
  const deliverer = startDeliverer(gateway.config, log, policy);
  t.after(() => deliverer.close());
  return deliverer;
}

const secret = async () => conforms(await gateway.http.get("/v1/webhooks/secret")).body.key as string;
const parse = (body: string) => JSON.parse(body) as { type: string; timestamp: string; data: Generation };

test("what becomes of a generation is told once, signed, with the pictures' addresses and not their bytes", async (t) => {
  deliver(t);
  const endpoint = await answering(204);
  const id = await generate({ url: endpoint.url });
  const delivery = await settled(id);
  const [{ headers, body }, ...more] = endpoint.received as [Received, ...Received[]];
  assert.equal(more.length, 0, "the start was not asked for");
  assert.deepEqual(new Webhook(await secret()).verify(body, headers), JSON.parse(body));
  const forged = Buffer.alloc(32).toString("base64");
  assert.throws(() => new Webhook(forged).verify(body, headers), /No matching signature/);
  assert.equal(headers["content-type"], "application/json");
  const generation = (await gateway.http.get(`/v1/generations/${id}`)).body as Generation;
  assert.deepEqual(parse(body), { type: "generation.succeeded", timestamp: generation.ended_at, data: generation });
  conformsToItsType(parse(body));
  assert.match(generation.images[0]!.url, /^http:.*\/images\/0$/);
  assert.equal(headers["webhook-id"], delivery.id);
  assert.equal(delivery.status, "delivered");
  assert.equal(delivery.attempts.length, 1);
  assert.partialDeepStrictEqual(delivery.attempts[0], { status: 204, error: null, next_attempt_at: null });
});

test("only the events that were asked for are told, each with the generation as it was then", async (t) => {
  deliver(t);
  const endpoint = await answering(200);
  const id = await generate({ url: endpoint.url, events: ["failed", "started"] }, FAILURE);
  await generate({ url: endpoint.url, events: ["started", "canceled"] });
  await until("three events", async () => endpoint.received.length === 3);
  const told = endpoint.received.map(({ body }) => parse(body)).filter(({ data }) => data.id === id);
  const sorted = told.toSorted((a, b) => a.type.localeCompare(b.type));
  assert.deepEqual(
    sorted.map(({ type, data }) => [type, data.status, data.ended_at === null]),
    [
      ["generation.failed", "failed", false],
      ["generation.started", "processing", true],
    ],
  );
  assert.deepEqual(
    (await deliveries(id)).map(({ type }) => type),
    ["generation.failed", "generation.started"],
  );
});

test("a worker that takes a generation over does not tell of its start again", async () => {
  const { url } = await answering(200);
  const { body } = await gateway.http
    .post("/v1/generations")
    .send({ prompt: "x", webhook: { url, events: ["started"] } });
  await claimJob(gateway.connection, body.id);
  await claimJob(gateway.connection, body.id);
  assert.equal((await deliveries(body.id)).length, 1);
});

test("what is not answered by 2xx comes again by the schedule, with the same id and a signature of its own", async (t) => {
  deliver(t);
  const endpoint = await answering(500, 404, 200);
  const delivery = await settled(await generate({ url: endpoint.url }));
  assert.equal(delivery.status, "delivered");
  assert.deepEqual(
    delivery.attempts.map(({ status }) => status),
    [500, 404, 200],
  );
  const webhook = new Webhook(await secret());
  for (const { headers, body } of endpoint.received) {
    webhook.verify(body, headers);
    assert.equal(headers["webhook-id"], delivery.id);
    assert.equal(body, endpoint.received[0]!.body);
  }
  const [first, second, third] = endpoint.received as [Received, Received, Received];
  assert.ok(second.at - first.at >= 49 && third.at - second.at >= 99, "it came before its time");
  const { at, next_attempt_at } = delivery.attempts[0]!;
  assert.ok(Date.parse(next_attempt_at!) - Date.parse(at) >= 50);
});

test("when the schedule is used up the delivery has failed; a replay sends it again with the same id", async (t) => {
  deliver(t);
  const endpoint = await answering(500, 500, 500, 500, 500, 200);
  const failed = await settled(await generate({ url: endpoint.url }));
  assert.equal(failed.status, "failed");
  assert.equal(failed.attempts.length, QUICK.waits.length);
  assert.equal(failed.next_attempt_at, null);
  const replayed = conforms(await gateway.http.post(`/v1/webhooks/deliveries/${failed.id}/replay`));
  assert.equal(replayed.status, 202);
  assert.equal(replayed.body.status, "pending");
  const again = await settled(failed.generation!);
  assert.equal(again.status, "delivered");
  assert.deepEqual(
    again.attempts.map(({ status }) => status),
    [500, 500, 500, 500, 500, 200],
  );
  assert.deepEqual(new Set(endpoint.received.map(({ headers }) => headers["webhook-id"])), new Set([failed.id]));
});

test("the real schedule is 0 s, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h; an attempt has 15 s", () => {
  assert.deepEqual(
    POLICY.waits,
    [0, 5, 300, 1800, 7200, 18_000, 36_000, 36_000].map((seconds) => seconds * 1000),
  );
  assert.equal(POLICY.timeLimit, 15_000);
  assert.ok(POLICY.lease > POLICY.timeLimit, "another process would take what is under way");
});

describe("Retry-After is honoured, within bounds", () => {
  /** When it was tried first, and when it says that it is tried again: it comes no earlier. */
  const tried = async (t: Parameters<typeof deliver>[0], retryAfter: string, policy = PATIENT) => {
    deliver(t, policy);
    const endpoint = await listen((n, response) => {
      response.writeHead(n === 0 ? 503 : 200, { "retry-after": retryAfter }).end();
    });
    const delivery = await settled(await generate({ url: endpoint.url }));
    assert.equal(delivery.status, "delivered");
    const { at, next_attempt_at } = delivery.attempts[0]!;
    const [first, next] = [Date.parse(at), Date.parse(next_attempt_at!)];
    assert.ok(endpoint.received[1]!.at >= next, "it came before its time");
    return { first, next };
  };
  test("in seconds", async (t) => {
    const { first, next } = await tried(t, "1");
    assert.ok(next - first >= 1000, `it waits ${next - first} ms`);
  });
  test("as a date", async (t) => {
    const date = new Date(Date.now() + 2900).toUTCString(); // whole seconds
    const { next } = await tried(t, date, { ...PATIENT, longestWait: 600_000 });
    assert.ok(next >= Date.parse(date), `it waits until ${new Date(next).toISOString()}, not until ${date}`);
  });
  test("no longer than the longest wait", async (t) => {
    const { first, next } = await tried(t, "999999");
    assert.ok(next - first >= QUICK.longestWait, `it waits ${next - first} ms`);
  });
  test("what it cannot be is ignored", async (t) => {
    const longestWait = 600_000;
    const { first, next } = await tried(t, "soon", { ...PATIENT, longestWait });
    assert.ok(next - first < longestWait / 2, `it waits ${next - first} ms`);
  });
});

test("410 ends a delivery and those that wait for the same endpoint, but not what happens later", async (t) => {
  const endpoint = await answering(410, 410, 200);
  const [first, second] = [await generate({ url: endpoint.url }), await generate({ url: endpoint.url })];
  deliver(t, { ...PATIENT, waits: [0, 600_000] });
  const ended = await settled(first);
  assert.equal(ended.status, "failed");
  assert.deepEqual(
    ended.attempts.map(({ status }) => status),
    [410],
  );
  assert.equal((await settled(second)).attempts.length, 1);

  const slow = await listen((n, response) => response.writeHead(n === 0 ? 500 : n === 1 ? 410 : 200).end());
  const waiting = await generate({ url: slow.url }); // 500: it waits …
  await until("its first attempt", async () => (await deliveries(waiting))[0]!.attempts.length === 1);
  await settled(await generate({ url: slow.url })); // … while this one hears 410
  const [{ id }] = (await deliveries(waiting)) as [WebhookDelivery];
  await gateway.connection.zadd("webhooks:due", "XX", 1, id); // its time has come
  const given = await settled(waiting);
  assert.equal(given.status, "failed");
  assert.match(given.attempts[1]!.error!, /not tried: the endpoint was gone/);
  assert.equal((await settled(await generate({ url: slow.url }))).status, "delivered");
});

test("a redirect is not followed", async (t) => {
  deliver(t, { ...PATIENT, waits: [0] });
  const target = await answering(200);
  const endpoint = await listen((_, response) => response.writeHead(307, { location: target.url }).end());
  const delivery = await settled(await generate({ url: endpoint.url }));
  assert.equal(delivery.status, "failed");
  assert.partialDeepStrictEqual(delivery.attempts, [{ status: 307, error: "redirects are not followed" }]);
  assert.equal(target.received.length, 0);
});

test("an endpoint that does not answer in time is tried again; the log says so", async (t) => {
  deliver(t, { ...PATIENT, timeLimit: 200 });
  const endpoint = await listen((n, response) => n > 0 && response.writeHead(200).end());
  const delivery = await settled(await generate({ url: endpoint.url }));
  assert.equal(delivery.status, "delivered");
  assert.equal(delivery.attempts[0]!.status, null);
  assert.match(delivery.attempts[0]!.error!, /within 0.2 s/);
});

test("an answer counts by its status, however long its body is", async (t) => {
  deliver(t);
  const endpoint = await listen((_, response) => {
    response.writeHead(200);
    const pour = () => {
      while (!response.destroyed && response.write(Buffer.alloc(65536)));
    };
    response.on("drain", pour);
    pour();
  });
  const delivery = await settled(await generate({ url: endpoint.url }));
  assert.equal(delivery.status, "delivered");
  assert.ok(delivery.attempts[0]!.duration_ms < 25_000, "it read on");
});

test("an endpoint that nobody listens at is told in the log", async (t) => {
  deliver(t, { ...PATIENT, waits: [0] });
  const delivery = await settled(await generate({ url: "http://127.0.0.1:1/" }));
  assert.equal(delivery.status, "failed");
  assert.match(delivery.attempts[0]!.error!, /ECONNREFUSED/);
});

test("after a rotation the old secret signs too; a second rotation ends the oldest at once", async (t) => {
  deliver(t);
  const endpoint = await answering(200);
  const oldest = await secret();
  assert.equal(await secret(), oldest);
  const rotate = async () => conforms(await gateway.http.post("/v1/webhooks/secret/rotate")).body.key as string;
  const newer = await rotate();
  assert.equal(await secret(), newer);
  await settled(await generate({ url: endpoint.url }));
  const newest = await rotate();
  await settled(await generate({ url: endpoint.url }));
  const verifies = (key: string, { body, headers }: Received) => {
    try {
      return new Webhook(key).verify(body, headers) !== undefined;
    } catch {
      return false;
    }
  };
  const keys = [oldest, newer, newest];
  const [first, second] = endpoint.received as [Received, Received];
  assert.deepEqual(
    keys.map((key) => verifies(key, first)),
    [true, true, false],
  );
  assert.deepEqual(
    keys.map((key) => verifies(key, second)),
    [false, true, true],
  );
  assert.equal(first.headers["webhook-signature"]!.split(" ").length, 2);
  const ttl = await gateway.connection.ttl(`webhooks:secret:${OWNER_WITHOUT_KEYS}:previous`);
  assert.ok(ttl > 24 * 3600 - 60 && ttl <= 24 * 3600, `the old one signs for ${ttl} s`);
});

test("a webhook worker that is killed in the middle of a delivery loses nothing: the next one sends it, with the same id", async () => {
  const env = { REDIS_URL: gateway.config.REDIS_URL, ALLOW_HOSTS: "127.0.0.1" };
  const endpoint = await listen((n, response) => n > 0 && response.writeHead(200).end()); // the first hangs
  const first = startNode(stack, "test/support/quick-deliver.ts", env);
  const id = await generate({ url: endpoint.url });
  await until("the first attempt", async () => endpoint.received.length === 1);
  await kill(first.child, "SIGKILL");
  const second = startNode(stack, "test/support/quick-deliver.ts", env);
  const delivery = await settled(id);
  await kill(second.child, "SIGKILL");
  assert.equal(delivery.status, "delivered");
  assert.deepEqual(
    endpoint.received.map(({ headers }) => headers["webhook-id"]),
    [delivery.id, delivery.id],
  );
});

test("a webhook worker that is asked to stop lets the attempt under way end", async () => {
  let answer = () => {};
  const endpoint = await listen((_, response) => (answer = () => response.writeHead(200).end()));
  const deliverer = startDeliverer(gateway.config, log, POLICY);
  const id = await generate({ url: endpoint.url });
  await until("the attempt", async () => endpoint.received.length === 1);
  const closed = deliverer.close();
  answer();
  await closed;
  assert.equal((await deliveries(id))[0]!.status, "delivered");
});

test("several webhook workers share what there is: every event comes, and only once", async (t) => {
  for (let i = 0; i < 3; i++) deliver(t, POLICY);
  const endpoint = await answering(200);
  const ids = await Promise.all(Array.from({ length: 100 }, () => generate({ url: endpoint.url })));
  for (const id of ids) assert.equal((await settled(id)).status, "delivered");
  const told = endpoint.received.map(({ body }) => parse(body).data.id);
  assert.deepEqual(told.toSorted(), ids.toSorted());
});

test("a crowd before an endpoint that hangs does not keep the webhooks of others waiting", async (t) => {
  const tarpit = await listen(() => {});
  const endpoint = await answering(200);
  const crowd = await Promise.all(Array.from({ length: 80 }, () => generate({ url: tarpit.url })));
  deliver(t, POLICY);
  await until("the crowd", async () => tarpit.received.length >= 64);
  const delivery = await settled(await generate({ url: endpoint.url }));
  assert.equal(delivery.status, "delivered");
  assert.equal(tarpit.received.length, 64, "as many as one host may have");
  await Promise.all(crowd.map((id) => forget(id)));
  tarpit.end();
});

test("a generation's state and its webhook are one change: killing Redis at any time leaves both or neither", async () => {
  const { connection } = gateway;
  const ids = await Promise.all(
    Array.from({ length: 200 }, async () => {
      const body = { prompt: "x", webhook: { url: "http://127.0.0.1:1/" } };
      return (await gateway.http.post("/v1/generations").send(body)).body.id as string;
    }),
  );
  const claims = await Promise.all(ids.map((id) => claimJob(connection, id)));
  const pid = Number(/process_id:(\d+)/.exec(await connection.info("server"))![1]);
  const ends = claims.map((claimed) => finish(connection, claimed!, SUCCESS));
  await ends[50];
  process.kill(pid, "SIGKILL");
  await gateway.redis.start();
  await Promise.all(ends); // those that the dead Redis had not answered are sent again
  for (const id of ids) {
    assert.equal(await connection.hget(`generation:${id}`, "status"), "succeeded");
    assert.equal((await deliveries(id)).length, 1, id);
  }
});

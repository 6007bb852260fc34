import assert from "node:assert/strict";
import { access } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import sharp from "sharp";
import { claimJob, finish, reportProgress } from "../../src/jobs/attempt.ts";
import type { Generation } from "../../src/schema/generation.ts";
import { inputKey } from "../../src/storage/keys.ts";
import { conforms } from "../support/conforms.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";
import { until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const BODY = { prompt: "x", num_inference_steps: 2, scheduler: "ddim" };

interface Sent {
  id: string;
  event: string;
  data: { step: number; preview?: string } & Generation;
}

/** The events that a stream sends until the server closes it, or `signal` aborts; with the moments at which they came. */
async function listen(
  url: string,
  { last, signal, most, hear }: { last?: string; signal?: AbortSignal; most?: number; hear?: () => void } = {},
) {
  const headers: Record<string, string> = last === undefined ? {} : { "Last-Event-ID": last };
  const answer = await fetch(`${url}/events`, { headers, signal: signal ?? null });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("content-type"), "text/event-stream");
  const events: Sent[] = [];
  let text = "";
  for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const blocks = text.split("\n\n");
    text = blocks.pop()!;
    for (const block of blocks) {
      const match = /^id: (.*)\nevent: (.*)\ndata: (.*)$/.exec(block);
      if (match) events.push({ id: match[1]!, event: match[2]!, data: JSON.parse(match[3]!) });
    }
    if (events.length > 0) hear?.();
    if (most !== undefined && events.length >= most) break;
  }
  return events;
}

describe("a generation's life", async () => {
  const gateway = await startGateway(stack, { MAX_QUEUE: "6" });
  const { http, connection, config } = gateway;
  await gateway.offer(CATALOG);
  const make = async (body: object = BODY) => (await http.post("/v1/generations").send(body)).body as Generation;
  const path = ({ id }: { id: string }) => `/v1/generations/${id}`;
  const succeed = {
    status: "succeeded" as const,
    images: [],
    controls: [],
    warnings: [],
    metrics: {
      queue_ms: 1,
      load_ms: 1,
      annotate_ms: 1,
      encode_ms: 1,
      denoise_ms: 1,
      decode_ms: 1,
      steps_per_second: 1,
    },
  };

  await test("events: all of them from the first, each once and in order, also to those who come back or come late", async () => {
    const made = await make();
    const url = `${config.PUBLIC_URL}${path(made)}`;
    const whole = listen(url);
    const begun = await listen(url, { most: 1 });
    assert.deepEqual(
      begun.map(({ event }) => event),
      ["queued"],
    );
    const claimed = (await claimJob(connection, made.id))!;
    await reportProgress(connection, claimed, { step: 1, total: 2, preview: null });
    const more = await listen(url, { last: begun[0]!.id, most: 2 });
    assert.deepEqual(
      more.map(({ event }) => event),
      ["started", "progress"],
    );
    const again = (await claimJob(connection, made.id))!; // a takeover from the start
    assert.equal(await reportProgress(connection, claimed, { step: 2, total: 2, preview: null }), false);
    for (const step of [1, 2]) {
      await reportProgress(connection, again, { step, total: 2, preview: "data:image/jpeg;base64,AA==" });
    }
    const running = await listen(url, { most: 4 });
    assert.equal(running[3]!.data.preview, "data:image/jpeg;base64,AA==");
    await finish(connection, again, succeed);
    const events = await whole;
    assert.deepEqual(
      events.map(({ event, data }) => [event, data.status ?? data.step]),
      [
        ["queued", "queued"],
        ["started", "processing"],
        ["progress", 1],
        ["progress", 2],
        ["succeeded", "succeeded"],
      ],
    );
    assert.deepEqual(events.at(-1)!.data, (await http.get(path(made))).body);
    const late = await listen(url);
    assert.ok(!late.some(({ data }) => "preview" in data), "previews go at the end");
    const withoutPreviews = events.map((event) => {
      const { preview: _, ...data } = event.data;
      return { ...event, data };
    });
    assert.deepEqual(late, withoutPreviews);
    assert.deepEqual([...begun, ...more, ...(await listen(url, { last: more.at(-1)!.id }))], late);
    const over = await http.get(`${path(made)}/events`).set("Last-Event-ID", events.at(-1)!.id);
    assert.equal(conforms(over).status, 204);
    assert.equal(conforms(await http.get(`${path(made)}/events`).set("Last-Event-ID", "x")).status, 400);
    assert.equal(conforms(await http.get("/v1/generations/gen_no/events")).status, 404);
  });

  await test("events: a stream ends when nothing can follow: what it follows is deleted, or is over for a made-up id", async () => {
    const deleted = await make();
    const listening = await fetch(`${config.PUBLIC_URL}${path(deleted)}/events`);
    await connection.del(`generation:${deleted.id}`, `events:${deleted.id}`);
    await listening.text(); // ends
    const ended = await make();
    await finish(connection, (await claimJob(connection, ended.id))!, succeed);
    assert.deepEqual(await listen(`${config.PUBLIC_URL}${path(ended)}`, { last: "9-0" }), []);
  });

  await test("events: hundreds of listeners take no more connections to Redis than one", async (t) => {
    const made = await make();
    const url = `${config.PUBLIC_URL}${path(made)}`;
    const connections = async () =>
      String(await connection.client("LIST"))
        .trim()
        .split("\n").length;
    const before = await connections();
    const listeners = Array.from({ length: 300 }, () => listen(url));
    await listen(url, { most: 1 });
    assert.equal(await connections(), before);
    const claimed = (await claimJob(connection, made.id))!;
    const begun = performance.now();
    for (const step of [1, 2]) await reportProgress(connection, claimed, { step, total: 2, preview: null });
    await finish(connection, claimed, succeed);
    for (const events of await Promise.all(listeners)) {
      assert.deepEqual(
        events.map(({ event }) => event),
        ["queued", "started", "progress", "progress", "succeeded"],
      );
    }
    t.diagnostic(`300 listeners had all of it after ${(performance.now() - begun).toFixed(0)} ms`);
  });

  await test("events: a Redis that goes and comes back costs a listener none of them", async () => {
    const made = await make();
    const { promise: heard, resolve: hear } = Promise.withResolvers<void>();
    const whole = listen(`${config.PUBLIC_URL}${path(made)}`, { hear });
    await heard;
    await gateway.redis.stop();
    await gateway.redis.start();
    const claimed = (await claimJob(connection, made.id))!;
    await finish(connection, claimed, succeed);
    assert.deepEqual(
      (await whole).map(({ event }) => event),
      ["queued", "started", "succeeded"],
    );
    await until("the gateway to have Redis again", async () => (await http.get("/v1/models")).status === 200);
  });

  await test("cancel: at once when it waits; when it runs its worker is asked; not when it has ended", async () => {
    const waiting = await make();
    const answer = conforms(await http.post(`${path(waiting)}/cancel`));
    assert.equal(answer.status, 202);
    assert.equal(answer.body.status, "canceled");
    assert.ok(answer.body.ended_at);
    assert.equal(await claimJob(connection, waiting.id), undefined);
    assert.equal(conforms(await http.post(`${path(waiting)}/cancel`)).status, 409);
    const running = await make();
    const claimed = (await claimJob(connection, running.id))!;
    assert.equal(conforms(await http.post(`${path(running)}/cancel`)).body.status, "processing");
    assert.equal(await reportProgress(connection, claimed, { step: 1, total: 2, preview: null }), false);
    await finish(connection, claimed, succeed); // it was done before it heard
    assert.equal((await http.get(path(running))).body.status, "canceled");
    assert.equal(conforms(await http.post("/v1/generations/gen_no/cancel")).status, 404);
  });

  await test("list: newest first, a page at a time, by status", async () => {
    const { body: before } = await http.get("/v1/generations?limit=100");
    const made = [await make(), await make(), await make()].map(({ id }) => id);
    const seen: string[] = [];
    for (let cursor = ""; ; ) {
      const { body } = conforms(await http.get(`/v1/generations?limit=2${cursor && `&cursor=${cursor}`}`));
      assert.ok(body.data.length <= 2);
      seen.push(...body.data.map(({ id }: Generation) => id));
      if (body.next_cursor === null) break;
      cursor = body.next_cursor;
    }
    assert.deepEqual(seen, [...made.toReversed(), ...before.data.map(({ id }: Generation) => id)]);
    const queued = conforms(await http.get("/v1/generations?status=queued")).body.data;
    assert.deepEqual(
      queued.map(({ id }: Generation) => id),
      made.toReversed(),
    );
    const { body: canceled } = await http.get("/v1/generations?status=canceled");
    assert.equal(canceled.data.length, 2);
    assert.equal(conforms(await http.get("/v1/generations?limit=0")).status, 400);
    const misspelt = conforms(await http.get("/v1/generations?statsu=queued"));
    assert.equal(misspelt.status, 400);
    assert.match(misspelt.body.detail, /unknown field "statsu", the nearest known one is "status"/);
    const unread = conforms(await http.post("/v1/generations?wait=5").send(BODY));
    assert.equal(unread.status, 400);
    assert.match(unread.body.detail, /unknown field "wait", none is known here/);
    for (const id of made) await http.post(`${path({ id })}/cancel`);
  });

  await test("delete: what has ended goes with its files, record and events; what has not stays", async () => {
    const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
      .png()
      .toBuffer();
    const image = `data:image/png;base64,${png.toString("base64")}`;
    const made = await make({ ...BODY, controls: [{ controlnet: "canny", image }] });
    const file = join(config.DATA_DIR, "artifacts", inputKey(made.id, String(made.request.controls[0]!.image)));
    await access(file);
    assert.equal(conforms(await http.delete(path(made))).status, 409);
    await http.post(`${path(made)}/cancel`);
    assert.equal(conforms(await http.delete(path(made))).status, 204);
    assert.equal(conforms(await http.delete(path(made))).status, 404);
    assert.equal((await http.get(path(made))).status, 404);
    await assert.rejects(access(file), { code: "ENOENT" });
    assert.deepEqual(await connection.keys(`*${made.id}*`), []);
    const { body } = await http.get("/v1/generations?limit=100");
    assert.ok(body.data.every(({ id }: Generation) => id !== made.id));
  });

  await test("Idempotency-Key: the same key and body is the same generation, also sent at once; another body is refused", async () => {
    const send = (key: string, body: object = BODY) =>
      http.post("/v1/generations").set("Idempotency-Key", key).send(body);
    const both = (await Promise.all([send("a"), send("a"), send("a"), send("a")])).map((answer) => conforms(answer));
    assert.deepEqual(
      both.map(({ status }) => status),
      [202, 202, 202, 202],
    );
    assert.equal(new Set(both.map(({ body }) => body.id)).size, 1);
    assert.equal(new Set(both.map(({ headers }) => headers.location)).size, 1);
    const { id } = both[0]!.body;
    await http.post(`${path({ id })}/cancel`);
    assert.deepEqual((await send("a")).body, (await http.get(path({ id }))).body);
    const other = conforms(await send("a", { ...BODY, prompt: "y" }));
    assert.equal(other.status, 409);
    assert.equal(other.body.code, "idempotency_key_reused");
    const second = (await send("b")).body;
    assert.notEqual(second.id, id);
    await http.post(`${path(second)}/cancel`);
    const ttl = await connection.ttl((await connection.keys("idempotency:*"))[0]!);
    assert.ok(ttl > 86_000 && ttl <= 86_400);
  });

  await test("a full queue refuses with 429 and says when to come back; what it has refused leaves nothing", async () => {
    const made: Generation[] = [];
    for (let i = 0; i < 6; i++) made.push(await make());
    const answer = conforms(await http.post("/v1/generations").send(BODY));
    assert.equal(answer.status, 429);
    assert.equal(answer.body.code, "queue_full");
    assert.match(answer.headers["retry-after"]!, /^\d+$/);
    for (const one of made) await http.post(`${path(one)}/cancel`);
    assert.equal((await http.get("/v1/generations?status=queued")).body.data.length, 0);
    assert.equal((await http.post("/v1/generations").send(BODY)).status, 202);
  });
});

test("a gateway that is asked to stop lets go of those who listen and wait", async () => {
  const own = new AsyncDisposableStack();
  const { http, offer, config } = await startGateway(own);
  await offer(CATALOG);
  const { body } = await http.post("/v1/generations").send(BODY);
  const listening = listen(`${config.PUBLIC_URL}/v1/generations/${body.id}`);
  const waiting = fetch(`${config.PUBLIC_URL}/v1/generations`, {
    method: "POST",
    headers: { "content-type": "application/json", prefer: "wait=60" },
    body: JSON.stringify(BODY),
  });
  await until("both", async () => (await http.get("/v1/generations")).body.data.length === 2);
  await listen(`${config.PUBLIC_URL}/v1/generations/${body.id}`, { most: 1 });
  const asked = performance.now();
  await own.disposeAsync();
  assert.ok(performance.now() - asked < 30_000, "they were waited for"); // 55 s and longer
  assert.deepEqual(
    (await listening).map(({ event }) => event),
    ["queued"],
  );
  assert.equal((await waiting).status, 202);
});

test("Idempotency-Key: every other POST gives its first answer again, and is carried out once", async () => {
  const { http, offer } = await startGateway(stack);
  await offer(CATALOG);
  const rotate = () => http.post("/v1/webhooks/secret/rotate").set("Idempotency-Key", "rotate");
  const { key } = conforms(await rotate()).body;
  assert.equal(conforms(await rotate()).body.key, key);
  assert.equal((await http.get("/v1/webhooks/secret")).body.key, key);
  const png = (background: string) =>
    sharp({ create: { width: 8, height: 8, channels: 3, background } })
      .png()
      .toBuffer();
  const upload = (bytes: Buffer) =>
    http.post("/v1/uploads").set("Idempotency-Key", "upload").type("image/png").send(bytes);
  const red = await png("red");
  const first = conforms(await upload(red));
  assert.equal(first.status, 201);
  const second = conforms(await upload(red));
  assert.equal(second.status, 201);
  assert.deepEqual(second.body, first.body);
  assert.equal(conforms(await upload(await png("blue"))).status, 409);
  const cancel = () => http.post("/v1/generations/gen_no/cancel").set("Idempotency-Key", "cancel");
  assert.equal((await cancel()).status, 404);
  assert.equal((await cancel()).status, 404); // what has failed has had no effect, and is tried again
});

test("what waits longer than QUEUE_TIMEOUT fails with the reason; what has ended is gone after RESULT_TTL, with its files", async () => {
  const { http, offer, connection, config } = await startGateway(stack, { QUEUE_TIMEOUT: "1", RESULT_TTL: "3" });
  await offer(CATALOG);
  const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
    .png()
    .toBuffer();
  const image = `data:image/png;base64,${png.toString("base64")}`;
  const { body } = await http.post("/v1/generations").send({ ...BODY, controls: [{ controlnet: "canny", image }] });
  const file = join(config.DATA_DIR, "artifacts", inputKey(body.id, body.request.controls[0].image));
  await access(file);
  const failed = await until("its end", async () => {
    const answer = await http.get(`/v1/generations/${body.id}`);
    return answer.body.status === "failed" ? answer.body : undefined;
  });
  assert.equal(failed.error.code, "queue_timeout");
  await until("it to be gone", async () => (await http.get(`/v1/generations/${body.id}`)).status === 404);
  assert.ok(Date.now() - Date.parse(failed.ended_at) >= 3000, "it was kept for RESULT_TTL");
  assert.deepEqual((await http.get("/v1/generations")).body.data, []);
  await until("its files to be gone", async () =>
    access(file).then(
      () => false,
      () => true,
    ),
  );
  await until("what names them to be gone", async () => (await connection.exists(`inputs:${body.id}`)) === 0);
  const left = await connection.keys(`*${body.id}*`);
  assert.deepEqual(left, [`bull:generations:${body.id}`], "its job finds nothing to do");
});

test("a generation whose gateway died before it made the job gets one", async () => {
  const { http, offer, connection } = await startGateway(stack);
  await offer(CATALOG);
  const { body } = await http.post("/v1/generations").send(BODY);
  const hasJob = async () => (await connection.exists(`bull:generations:${body.id}`)) === 1;
  await until("its job", hasJob); // it is accepted before
  await connection.del(await connection.keys("bull:generations:*"));
  await until("another job", hasJob);
});

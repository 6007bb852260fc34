/** What one client takes of a gateway, and what is left for the others: each bound of src/gateway/bounds.ts, made small. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { crc32, deflateSync } from "node:zlib";
import { BOUNDS } from "../../src/gateway/bounds.ts";
import { Decoders } from "../../src/gateway/decoding/decoders.ts";
import { claimJob, finish } from "../../src/jobs/attempt.ts";
import { eventsKey } from "../../src/jobs/keys.ts";
import { conforms } from "../support/conforms.ts";
import { CATALOG, log, startGateway } from "../support/gateway.ts";
import { until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const png = readFileSync(new URL("../fixtures/image/decode/rgb.png", import.meta.url));
const uri = (bytes: Uint8Array) => `data:image/png;base64,${Buffer.from(bytes).toString("base64")}`;
const [ANN, BOB] = ["a".repeat(16), "b".repeat(16)];
const KEYS = { API_KEYS: `ann:${ANN},bob:${BOB}` };

type Gateway = Awaited<ReturnType<typeof startGateway>>;

/** A connection that sends the head of a POST, with so much of its body. */
async function post(
  gateway: Gateway,
  path: string,
  headers: Record<string, string | number>,
  body: string | Buffer = "",
) {
  const socket = connect(gateway.config.PORT, gateway.config.HOST);
  stack.defer(() => void socket.destroy());
  const lines = Object.entries({ Host: "localhost", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`POST ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
  socket.write(body);
  return socket;
}

/** The status of the answer that comes next. */
async function statusOf(socket: Socket): Promise<number> {
  const [bytes] = (await once(socket, "data")) as [Buffer];
  return Number(bytes.toString("latin1", 9, 12));
}

const json = (key: string, length: number) => ({
  Authorization: `Bearer ${key}`,
  "Content-Type": "application/json",
  "Content-Length": length,
});

describe("bodies in memory", async () => {
  const gateway = await startGateway(stack, KEYS, log, { heldBytes: 2500, heldBytesOfOwner: 2000 });
  await gateway.offer(CATALOG);
  const generate = (key: string, prompt: string) =>
    gateway.http.post("/v1/generations").set("Authorization", `Bearer ${key}`).send({ prompt });

  test("have a bound for each key and one for all together; beyond it is 503, and when to come again", async () => {
    const held = await post(gateway, "/v1/generations", json(ANN, 1500), '{"prompt": "');
    await until("the first", async () => (await generate(ANN, "x".repeat(600))).status === 503);
    const beyond = conforms(await generate(ANN, "x".repeat(600)));
    assert.deepEqual([beyond.status, beyond.body.code, beyond.headers["retry-after"]], [503, "not_ready", "1"]);
    assert.match(beyond.body.detail, /this key has more than 2000 bytes/);
    assert.equal(conforms(await generate(ANN, "x".repeat(100))).status, 202);
    assert.equal(conforms(await generate(BOB, "x".repeat(600))).status, 202);
    const inAll = conforms(await generate(BOB, "x".repeat(1200)));
    assert.match(inAll.body.detail, /there are more than 2500 bytes/);
    held.destroy();
    await until("room", async () => (await generate(ANN, "x".repeat(1500))).status === 202);
  });

  test("that do not say how long they are count as they come", async () => {
    const { "Content-Length": _, ...headers } = json(ANN, 0);
    const socket = await post(
      gateway,
      "/v1/generations",
      { ...headers, "Transfer-Encoding": "chunked" },
      '2\r\n{"\r\n',
    );
    socket.write(`BB8\r\n${"x".repeat(3000)}\r\n`);
    assert.equal(await statusOf(socket), 503);
  });
});

describe("JSON", async () => {
  const gateway = await startGateway(stack, {}, log, { textBytes: 20_000 });
  await gateway.offer(CATALOG);
  const generate = (body: string) => gateway.http.post("/v1/generations").type("json").send(body);

  test("has a small bound beside its data: URIs", async () => {
    const many = conforms(await generate(`{"prompt": "x", "controls": [${"{},".repeat(10_000)}{}]}`));
    assert.deepEqual([many.status, many.body.code], [413, "body_too_large"]);
    const long = conforms(await generate(JSON.stringify({ prompt: "x".repeat(30_000) })));
    assert.match(long.body.detail, /beside its data: URIs, has more than the 20000 bytes/);
    for (const begin of ["d", "data:"]) {
      const short = conforms(await generate(JSON.stringify({ prompt: "x", list: Array(10_000).fill(begin) })));
      assert.equal(short.status, 413);
    }
  });

  test("with large data: URIs is understood as it is, escaped or not, wherever it is cut", async () => {
    const large = Buffer.concat([png, Buffer.alloc(40_000)]); // what follows the end of a PNG is ignored
    const body = { prompt: 'a "house" \\', controls: [{ controlnet: "canny", image: uri(large) }], image: uri(png) };
    const plain = conforms(await generate(JSON.stringify(body)));
    assert.equal(plain.status, 202, plain.text);
    const escaped = conforms(await generate(JSON.stringify(body).replaceAll("/", "\\/")));
    assert.equal(escaped.status, 202, escaped.text);
    assert.deepEqual(escaped.body.request.controls, plain.body.request.controls);
    assert.equal(escaped.body.request.prompt, body.prompt);
    const text = JSON.stringify(body);
    const socket = await post(gateway, "/v1/generations", { ...json("x", text.length), Connection: "close" });
    for (let at = 0; at < text.length; at += 997) socket.write(text.slice(at, at + 997));
    assert.equal(await statusOf(socket), 202);
  });

  test("whose long data: URI stands where no image does is refused as any text is", async () => {
    const long = uri(Buffer.alloc(30_000));
    const prompt = conforms(await generate(JSON.stringify({ prompt: long })));
    assert.deepEqual([prompt.status, prompt.body.errors[0].path], [400, "prompt"]);
    const name = conforms(await generate(JSON.stringify({ prompt: "x", metadata: { [long]: 1 } })));
    assert.deepEqual([name.status, name.body.code], [400, "invalid_request"]);
    const broken = conforms(await generate(`{"prompt": "x", "image": "${long}\n"}`));
    assert.deepEqual([broken.status, broken.body.code], [400, "not_json"]);
  });
});

describe("a body that comes slowly", { concurrency: true }, async () => {
  const idleMs = 1000;
  const gateway = await startGateway(stack, {}, log, { idleMs, idleBytes: 10 });
  await gateway.offer(CATALOG);
  const zip = Buffer.concat([Buffer.from("PK\x05\x06"), Buffer.alloc(18)]);
  for (const [what, path, type, bytes, status] of [
    ["JSON", "/v1/generations", "application/json", Buffer.from(`{"prompt": "${"x".repeat(500)}"}`), 202],
    ["an image", "/v1/uploads", "image/png", png, 201],
    ["an archive", "/v1/uploads", "application/zip", Buffer.concat([zip, Buffer.alloc(400)]), 201],
  ] as const) {
    test(`is waited for as long as something comes: ${what}`, async () => {
      const headers = { "Content-Type": type, "Content-Length": bytes.length };
      const socket = await post(gateway, path, headers);
      const answered = statusOf(socket);
      const pieces = Math.ceil(bytes.length / 16);
      for (let n = 0; n < pieces; n++) {
        socket.write(bytes.subarray(16 * n, 16 * (n + 1)));
        await sleep((1.7 * idleMs) / pieces); // in all, longer than it may be idle
      }
      assert.equal(await answered, status);
    });

    test(`and not when nothing does: ${what}`, async () => {
      const headers = { "Content-Type": type, "Content-Length": bytes.length };
      const socket = await post(gateway, path, headers, bytes.subarray(0, 20));
      assert.equal(await statusOf(socket), 408);
    });
  }
});

test("a head that does not come to its end is answered 408", async () => {
  const gateway = await startGateway(stack, {}, log, { headMs: 500 });
  const socket = connect(gateway.config.PORT, gateway.config.HOST);
  stack.defer(() => void socket.destroy());
  socket.write("GET /health HTTP/1.1\r\nHost: loc");
  assert.equal(await statusOf(socket), 408);
});

test("who does not read a large answer is left, whatever he sends meanwhile", { timeout: 20_000 }, async () => {
  const gateway = await startGateway(stack, {}, log, { heldBytesOfOwner: 1e9, heldBytes: 1e9, writeMs: 300 });
  const socket = connect(gateway.config.PORT, gateway.config.HOST).pause();
  stack.defer(() => void socket.destroy());
  socket.write("GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(60)); // 20 MB of answers: no kernel keeps so much
  const sending = setInterval(() => socket.write("\r\n"), 50);
  stack.defer(() => clearInterval(sending));
  await assert.rejects(once(socket, "close"), /ECONNRESET|EPIPE/);
});

describe("clients that follow events", async () => {
  const gateway = await startGateway(stack, KEYS, log, { streams: 3, streamsOfOwner: 2, writeMs: 300, silenceMs: 50 });
  await gateway.offer(CATALOG);
  const begin = async (key: string) => {
    const send = gateway.http.post("/v1/generations").set("Authorization", `Bearer ${key}`);
    const { id } = conforms(await send.send({ prompt: "x" })).body;
    return async () => {
      const headers = { Authorization: `Bearer ${key}` };
      const answer = await fetch(`${gateway.config.PUBLIC_URL}/v1/generations/${id}/events`, { headers });
      return { id, status: answer.status, leave: () => answer.body!.cancel() };
    };
  };

  interface Stream {
    status: number;
    leave(): Promise<void>;
  }
  /** Two streams, as soon as those of the test before have left their places. */
  const two = (follow: () => Promise<Stream>) =>
    until("the places of the test before", async () => {
      const streams = [await follow(), await follow()] as const;
      if (streams.every(({ status }) => status === 200)) return streams;
      await Promise.all(streams.map(({ leave }) => leave()));
      return undefined;
    });
  /** So many generations and annotations there have been. */
  const accepted = async () => {
    const keys = ["generation:*", "annotation:*"].map((pattern) => gateway.connection.keys(pattern));
    return (await Promise.all(keys)).flat().length;
  };

  test("are so many of a key, and so many in all; one more is 503", async () => {
    const [ann, bob] = [await begin(ANN), await begin(BOB)];
    const [first, second] = [await ann(), await ann()];
    assert.deepEqual([first.status, second.status, (await ann()).status], [200, 200, 503]);
    const third = await bob();
    assert.deepEqual([third.status, (await bob()).status], [200, 503]);
    await first.leave();
    await until("a place", async () => {
      const next = await bob();
      await next.leave();
      return next.status === 200;
    });
    await Promise.all([second.leave(), third.leave()]);
  });

  test("by another system's API count as well", async () => {
    const follow = async () => {
      const headers = { Authorization: `Bearer ${ANN}`, "Content-Type": "application/json" };
      const body = JSON.stringify({ prompt: "x", stream: true });
      const url = `${gateway.config.PUBLIC_URL}/v1/images/generations`;
      const answer = await fetch(url, { method: "POST", headers, body });
      return { status: answer.status, leave: () => answer.body!.cancel() };
    };
    const streams = await two(follow);
    const before = await accepted();
    const beyond = await follow();
    assert.equal(beyond.status, 503);
    assert.equal(await accepted(), before, "it has had no effect");
    await Promise.all([...streams, beyond].map(({ leave }) => leave()));
    await until("their places", async () => {
      const next = await follow();
      await next.leave();
      return next.status === 200;
    });
  });

  for (const [how, path, body] of [
    ["for an end", "/v1/generations", { prompt: "x" }],
    ["for a prediction", "/replicate/v1/predictions", { version: "anyone/base:base", input: { prompt: "x" } }],
    ["for a picture of the web UI's API", "/sdapi/v1/txt2img", { prompt: "x" }],
    [
      "for maps of the web UI's API",
      "/controlnet/detect",
      { controlnet_module: "canny", controlnet_images: [uri(png)] },
    ],
  ] as const) {
    test(`count as well when they wait ${how}`, async () => {
      let gone = new AbortController();
      const ask = async () => {
        const headers = { Authorization: `Bearer ${ANN}`, "Content-Type": "application/json", Prefer: "wait=60" };
        const init = { method: "POST", headers, body: JSON.stringify(body), signal: gone.signal };
        return (await fetch(`${gateway.config.PUBLIC_URL}${path}`, init)).status;
      };
      const asking: Promise<number>[] = [];
      /** "waits" once it is accepted, or the status. */
      const waits = async () => {
        const before = await accepted();
        let status: number | undefined;
        asking.push(
          ask().then(
            (is) => (status = is),
            () => 0,
          ),
        );
        return until("an answer", async () => status ?? ((await accepted()) > before ? ("waits" as const) : undefined));
      };
      await until("the places of the test before", async () => {
        if ((await waits()) === "waits" && (await waits()) === "waits") return true;
        gone.abort();
        gone = new AbortController();
        return false;
      });
      assert.equal(await waits(), 503);
      gone.abort();
      await Promise.all(asking);
    });
  }

  test("of Replicate's, which has a token and no key, count as the prediction's owner, and are dropped as well", async () => {
    const headers = { Authorization: `Bearer ${ANN}`, "Content-Type": "application/json" };
    const body = JSON.stringify({ version: "anyone/base:base", input: { prompt: "x" } });
    const made = await fetch(`${gateway.config.PUBLIC_URL}/replicate/v1/predictions`, {
      method: "POST",
      headers,
      body,
    });
    const { id, urls } = (await made.json()) as { id: string; urls: { stream: string } };
    const follow = async () => {
      const answer = await fetch(urls.stream);
      return { status: answer.status, leave: () => answer.body!.cancel() };
    };
    const all = [...(await two(follow)), await follow()];
    const bob = await (await begin(BOB))();
    assert.deepEqual(
      [...all, bob].map(({ status }) => status),
      [200, 200, 503, 200],
    );
    await Promise.all([...all, bob].map(({ leave }) => leave()));
    await until("a place", async () => {
      const next = await follow();
      await next.leave();
      return next.status === 200;
    });

    const claimed = await claimJob(gateway.connection, id);
    await finish(gateway.connection, claimed!, { status: "failed", error: { code: "x", message: "x".repeat(20e6) } });
    const { pathname, search } = new URL(urls.stream);
    const socket = connect(gateway.config.PORT, gateway.config.HOST);
    socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    await once(socket, "readable"); // and nothing is read
    const ann = await begin(ANN);
    await until("it to be dropped", async () => {
      const [one, other] = [await ann(), await ann()];
      await Promise.all([one.leave(), other.leave()]);
      return other.status === 200;
    });
    let read = 0;
    socket.on("data", (bytes: Buffer) => (read += bytes.length)).on("error", () => {});
    await once(socket, "close");
    assert.ok(read < 19e6, `${read} of 20 MB had been written`);
  });

  test("and do not read what they are sent are dropped", async () => {
    const ann = await begin(ANN);
    const { id, leave } = await ann();
    await leave();
    const preview = "x".repeat(500_000);
    for (let step = 1; step <= 40; step++) {
      const fields = ["event", "progress", "step", String(step), "total", "40", "preview", preview] as const;
      await gateway.connection.xadd(eventsKey(id), `2-${step}`, ...fields);
    }
    const socket = connect(gateway.config.PORT, gateway.config.HOST);
    const head = `GET /v1/generations/${id}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ANN}\r\n\r\n`;
    socket.write(head);
    await once(socket, "readable"); // and nothing is read
    await until("the place of the one that was dropped", async () => {
      const [first, second] = [await ann(), await ann()];
      await Promise.all([first.leave(), second.leave()]);
      return second.status === 200;
    });
    let read = 0;
    socket.on("data", (bytes: Buffer) => (read += bytes.length)).on("error", () => {});
    await once(socket, "close");
    assert.ok(read < 19e6, `${read} of 20 MB had been written`);
  });
});

/** Of so many pixels, with a palette: such a one is decoded to be checked. */
function large(side: number): Buffer {
  const chunk = (type: string, data: Uint8Array) => {
    const framed = Buffer.concat([Buffer.alloc(4), Buffer.from(type, "latin1"), data, Buffer.alloc(4)]);
    framed.writeUInt32BE(data.length);
    framed.writeUInt32BE(crc32(framed.subarray(4, -4)), framed.length - 4);
    return framed;
  };
  const size = Buffer.alloc(13);
  size.writeUInt32BE(side);
  size.writeUInt32BE(side, 4);
  size.set([8, 3, 0, 0, 0], 8);
  const pixels = deflateSync(Buffer.alloc((side + 1) * side), { level: 1 });
  const chunks = [
    chunk("IHDR", size),
    chunk("PLTE", Buffer.alloc(3)),
    chunk("IDAT", pixels),
    chunk("IEND", Buffer.alloc(0)),
  ];
  return Buffer.concat([png.subarray(0, 8), ...chunks]);
}

describe("uploads of one key", async () => {
  const gateway = await startGateway(stack, KEYS, log, { uploadsOfOwner: 2, idleMs: 60_000 });
  const send = (key: string, type = "image/png", bytes: Buffer = png) =>
    gateway.http.post("/v1/uploads").set("Authorization", `Bearer ${key}`).type(type).send(bytes);

  test("are so many at once; one more is 429, until one is deleted", async () => {
    const [first] = [conforms(await send(ANN)), conforms(await send(ANN))];
    const beyond = conforms(await send(ANN));
    assert.deepEqual([beyond.status, beyond.body.code], [429, "too_many_uploads"]);
    assert.ok(Number(beyond.headers["retry-after"]) > 0);
    assert.equal(conforms(await send(BOB)).status, 201);
    const path = `/v1/uploads/${first!.body.id}`;
    assert.equal((await gateway.http.delete(path).set("Authorization", `Bearer ${ANN}`)).status, 204);
    assert.equal(conforms(await send(ANN)).status, 201);
    assert.equal(conforms(await send(ANN)).status, 429);
  });

  test("count while they come in", async () => {
    const headers = { Authorization: `Bearer ${BOB}`, "Content-Type": "application/zip", "Content-Length": 1000 };
    const socket = await post(gateway, "/v1/uploads", headers, "PK");
    await until("the place that it takes", async () => (await send(BOB)).status === 429);
    socket.destroy();
    await until("its place", async () => (await send(BOB)).status === 201);
  });
});

describe("decoding an image", () => {
  const all = () => Number.POSITIVE_INFINITY;
  for (const [what, bounds] of [
    ["processor time", { decodeCpuMs: 60 }],
    ["time", { decodeMs: 1 }],
  ] as const) {
    test(`ends when it takes more ${what} than is allowed, and the next is decoded`, async () => {
      const decoders = new Decoders({ ...BOUNDS, ...bounds });
      const patient = new Decoders(BOUNDS);
      try {
        await assert.rejects(decoders.check(large(7000), all, "ann"), {
          name: "ImageError",
          message: /takes more than/,
        });
        if (what !== "time") assert.deepEqual(await decoders.check(png, all, "ann"), { width: 13, height: 9 });
        assert.deepEqual(await patient.check(large(100), all, "ann"), { width: 100, height: 100 });
      } finally {
        decoders.close();
        patient.close();
      }
    });
  }

  test("of one owner leaves a process to the others", async () => {
    const decoders = new Decoders(BOUNDS);
    try {
      await Promise.all(["ann", "bob"].map((owner) => decoders.check(png, all, owner)));
      const order: string[] = [];
      const slow = large(5000);
      const greedy = Array.from({ length: 3 }, () => decoders.check(slow, all, "ann").then(() => order.push("ann")));
      await decoders.check(png, all, "bob").then(() => order.push("bob"));
      await Promise.all(greedy);
      assert.equal(order[0], "bob");
    } finally {
      decoders.close();
    }
  });
});

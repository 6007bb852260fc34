import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { Redis } from "ioredis";
import sharp from "sharp";
import type { Generation } from "../../src/schema/generation.ts";
import { clientOf } from "../support/conforms.ts";
import { dataFolder, freePort, kill, startNode, temporaryFolder, until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

/** `npm start`, ready: it has said all that it says then. */
async function start(DATA_DIR: string) {
  const PORT = String(await freePort());
  const env = { DATA_DIR, PORT, EXECUTION_PROVIDER: "cpu" };
  const supervisor = startNode(stack, "start.ts", env);
  stack.defer(() => kill(supervisor.child, "SIGTERM"));
  await until(`ready in ${supervisor.output}`, async () => / try: curl .*\n/.test(supervisor.output));
  return {
    env,
    supervisor,
    http: clientOf(`http://127.0.0.1:${PORT}`),
    /** The process that has the name now. */
    pid: (name: string) =>
      Number([...supervisor.output.matchAll(new RegExp(`${name} runs \\(pid (\\d+)\\)`, "g"))].at(-1)![1]),
  };
}

const runs = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

const QUICK = { prompt: "x", num_inference_steps: 1 };
const LONG = { prompt: "x", num_inference_steps: 100, scheduler: "ddim", width: 128, height: 128 };

test("npm start brings everything up, starts what dies again, and loses no generation", async (t) => {
  const DATA_DIR = await dataFolder(stack);
  const service = await start(DATA_DIR);
  const { http, supervisor, pid } = service;
  const ended = (id: string) =>
    until(`the end of ${id}`, async () => {
      const { body } = await http.get(`/v1/generations/${id}`).catch(() => ({ body: {} }));
      return body.ended_at ? (body as Generation) : undefined;
    });
  const ready = () => until("ready", async () => (await http.get("/ready").catch(() => undefined))?.status === 200);
  let made: Generation;

  await t.test("the line that it prints saves a picture of the demo's", async () => {
    assert.match(supervisor.output, /MODELS_DIR is not set: this is the demo/);
    const [, line] = / try: (curl .*)/.exec(supervisor.output)!;
    const cwd = await temporaryFolder(stack);
    execFileSync("sh", ["-c", line!], { cwd });
    const { width, height, format } = await sharp(join(cwd, "picture.png")).metadata();
    assert.deepEqual([width, height, format], [128, 128, "png"]);
    const { data } = (await http.get("/v1/generations")).body as { data: Generation[] };
    made = data[0]!;
    assert.equal(made.status, "succeeded");
  });

  await t.test("previews are small, however large the picture: Redis keeps them", async () => {
    const shown = { ...QUICK, num_inference_steps: 10, width: 512, height: 128, preview: true };
    const { id } = (await http.post("/v1/generations").send(shown)).body;
    const { text } = await http.get(`/v1/generations/${id}/events`);
    const [, base64] = /"preview":"data:image\/jpeg;base64,([^"]+)"/.exec(text)!;
    const { width, height } = await sharp(Buffer.from(base64!, "base64")).metadata();
    assert.deepEqual([width, height], [256, 64]);
  });

  await t.test("the gateway answers at once while the worker computes", async (t) => {
    const { id } = (await http.post("/v1/generations").send(LONG)).body;
    await until("its first step", async () => (await http.get(`/v1/generations/${id}`)).body.progress.step > 0);
    const looks = 200;
    for (let k = 0; k < looks; k++)
      assert.equal((await fetch(`http://127.0.0.1:${service.env.PORT}/health`)).status, 200);
    // Twice as many looks as the generation has steps: it would be over if each waited for one.
    const { status, progress } = (await http.get(`/v1/generations/${id}`)).body;
    t.diagnostic(`${looks} looks at /health by step ${progress.step} of ${progress.total}`);
    assert.equal(status, "processing");
    await ended(id);
  });

  await t.test("a second start on the same port or the same DATA_DIR says why it cannot", async () => {
    const port = startNode(stack, "start.ts", { ...service.env, DATA_DIR: await dataFolder(stack) });
    assert.deepEqual(await once(port.child, "exit"), [1, null]);
    assert.match(port.output, /^PORT=\d+ on 127\.0\.0\.1 cannot be used: .*EADDRINUSE/);
    const folder = startNode(stack, "start.ts", { ...service.env, PORT: String(await freePort()) });
    assert.deepEqual(await once(folder.child, "exit"), [1, null]);
    assert.match(folder.output, /^another npm start is running on DATA_DIR=/);
  });

  await t.test("a killed gateway comes back", async () => {
    process.kill(pid("gateway"), "SIGKILL");
    assert.deepEqual(await ended(made.id), made);
  });

  await t.test("a killed worker comes back and makes what the dead one had begun", async () => {
    const { id } = (await http.post("/v1/generations").send(LONG)).body;
    await until("its third step", async () => (await http.get(`/v1/generations/${id}`)).body.progress.step > 2);
    process.kill(pid("worker"), "SIGKILL");
    assert.equal((await ended(id)).status, "succeeded");
  });

  await t.test("Redis' files are for nobody else's eyes", async () => {
    for (const name of ["redis", "redis/appendonlydir", "redis/redis.sock"]) {
      assert.equal((await stat(join(DATA_DIR, name))).mode & 0o077, 0, name);
    }
  });

  await t.test("Redis' memory has a bound that the machine sets", async (t) => {
    const redis = new Redis(join(DATA_DIR, "redis", "redis.sock"));
    const [, most] = (await redis.config("GET", "maxmemory")) as string[];
    redis.disconnect();
    t.diagnostic(`maxmemory is ${Number(most) / 2 ** 20} MiB`);
    assert.ok(Number(most) >= 64 * 2 ** 20 && Number(most) <= 512 * 2 ** 20);
  });

  await t.test("Redis has on disk what it answers for, also when the disk is slow", async () => {
    const redis = new Redis(join(DATA_DIR, "redis", "redis.sock"));
    try {
      assert.deepEqual(await redis.config("GET", "appendonly"), ["appendonly", "yes"]);
      assert.deepEqual(await redis.config("GET", "appendfsync"), ["appendfsync", "always"]);
    } finally {
      redis.disconnect();
    }
  });

  await t.test("a killed Redis comes back with all it held", async () => {
    const { id } = (await http.post("/v1/generations").send(LONG)).body;
    process.kill(pid("redis"), "SIGKILL");
    assert.equal((await ended(id)).status, "succeeded");
    assert.deepEqual(await ended(made.id), made);
    await ready();
  });

  await t.test("SIGTERM stops all of it, Redis last; a new start has all of it again", async () => {
    const pids = ["gateway", "worker", "trainer", "deliver", "redis"].map(pid);
    await kill(supervisor.child, "SIGTERM");
    assert.equal(supervisor.child.exitCode, 0);
    assert.deepEqual(pids.filter(runs), []);
    const again = await start(DATA_DIR);
    const { body } = await again.http.get(`/v1/generations/${made.id}`);
    assert.equal(body.ended_at, made.ended_at);
    assert.equal((await again.http.get(new URL(made.images[0]!.url).pathname)).status, 200);
    await kill(again.supervisor.child, "SIGTERM");
  });
});

test("when npm start itself is killed its children stop, and the next start takes over", async () => {
  const DATA_DIR = await dataFolder(stack);
  const killed = await start(DATA_DIR);
  const { body } = await killed.http.post("/v1/generations").set("Prefer", "wait=60").send(QUICK);
  const children = ["gateway", "worker", "trainer", "deliver"].map(killed.pid);
  await kill(killed.supervisor.child, "SIGKILL");
  await until("the children to stop", async () => !children.some(runs));
  const next = await start(DATA_DIR);
  assert.match(next.supervisor.output, /stopping the Redis that an earlier start has left behind/);
  assert.equal((await next.http.get(`/v1/generations/${body.id}`)).body.status, "succeeded");
  await kill(next.supervisor.child, "SIGTERM");
});

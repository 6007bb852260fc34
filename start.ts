/**
 * `npm start [-- --model org/name --controlnet org/name]`: everything on one machine. A private Redis unless REDIS_URL is set, the gateway, a generation worker, a
 * training worker and a webhook worker. What dies is started again, with back-off; SIGINT or SIGTERM stops all of it in order, Redis last.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { savePicture } from "./first-picture.ts";
import { type Config, DEMO_MODELS_DIR, readConfig } from "./src/config/config.ts";
import { ConfigError } from "./src/errors.ts";
import { HubError } from "./src/hub/hub-fetch.ts";
import { fetchNamed, readNamed } from "./src/hub/own-models.ts";
import { Fleet } from "./src/jobs/fleet.ts";
import { maxMemory } from "./src/redis/memory.ts";
import { lock } from "./src/storage/lock.ts";
import { openFiles } from "./workers/generate/picture-file.ts";
import { cardsOf, gpuSettings } from "./workers/runtime/gpu.ts";

const FIRST_BACKOFF_MS = 200;
const LAST_BACKOFF_MS = 10_000;
/** A process that has run this long was healthy: its next restart is quick again. */
const HEALTHY_MS = 30_000;
/** How long a process may take to stop before it is killed. */
const GRACE_MS = 8000;

/** Aborts when everything is to stop: from then on nothing is started again. */
const stopping = new AbortController();

/** One process that is kept running until everything stops. */
class Kept {
  readonly #name: string;
  readonly #launch: () => ChildProcess;
  #child: ChildProcess | undefined;
  #gone: Promise<unknown> = Promise.resolve();
  #backoff = FIRST_BACKOFF_MS;

  constructor(name: string, launch: () => ChildProcess) {
    this.#name = name;
    this.#launch = launch;
    this.#start();
  }

  #start(): void {
    if (stopping.signal.aborted) return;
    const started = Date.now();
    const child = this.#launch();
    this.#child = child;
    if (child.pid !== undefined) say("start", `${this.#name} runs (pid ${child.pid})`);
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) createInterface({ input: stream }).on("line", (line) => say(this.#name, line));
    }
    this.#gone = new Promise<void>((resolve) => {
      const end = (how: string) => {
        resolve();
        if (stopping.signal.aborted) return;
        if (Date.now() - started > HEALTHY_MS) this.#backoff = FIRST_BACKOFF_MS;
        say("start", `${this.#name} (pid ${child.pid}) has ended (${how}); starting it again in ${this.#backoff} ms`);
        setTimeout(() => this.#start(), this.#backoff);
        this.#backoff = Math.min(2 * this.#backoff, LAST_BACKOFF_MS);
      };
      child.once("exit", (code, signal) => end(signal ?? `exit status ${code}`));
      child.once("error", (error) => end(error.message));
    });
  }

  async stop(): Promise<void> {
    this.#child?.kill("SIGTERM");
    const timer = setTimeout(() => this.#child?.kill("SIGKILL"), GRACE_MS);
    await this.#gone;
    clearTimeout(timer);
  }
}

function say(name: string, line: string): void {
  process.stdout.write(`${name.padEnd(7)} | ${line}\n`);
}

/** A process of this project. Its IPC channel is there to be closed: when this process is killed, its children stop. */
function launchNode(file: string, env: NodeJS.ProcessEnv): ChildProcess {
  return spawn(process.execPath, [join(import.meta.dirname, file)], { env, stdio: ["ignore", "pipe", "pipe", "ipc"] });
}

/** The socket of DATA_DIR's private Redis: in DATA_DIR, but elsewhere when the path is too long for a socket (108 bytes). */
function socketOf(dataDir: string): string {
  const inside = join(dataDir, "redis", "redis.sock");
  if (Buffer.byteLength(inside) <= 100) return inside;
  return join(tmpdir(), `redis-${createHash("sha256").update(dataDir).digest("hex").slice(0, 16)}.sock`);
}

const SUPERVISOR = "supervisor"; // the client name of an `npm start` at its private Redis

/** Whether another `npm start` lives on this DATA_DIR. A Redis that a killed one left behind is stopped. */
async function isTaken(socket: string): Promise<boolean> {
  const redis = new Redis(socket, { lazyConnect: true, retryStrategy: null });
  redis.on("error", () => {});
  try {
    await redis.connect();
    if (String(await redis.client("LIST")).includes(`name=${SUPERVISOR} `)) return true;
    say("start", "stopping the Redis that an earlier start has left behind");
    await redis.shutdown().catch(() => {}); // it answers by closing the connection
    return false;
  } catch {
    return false;
  } finally {
    redis.disconnect();
  }
}

async function startRedis({ DATA_DIR }: Config) {
  const folder = join(DATA_DIR, "redis");
  const socket = socketOf(DATA_DIR);
  // The lock first: of two that begin at once, each would find no Redis yet.
  if (!(await lock(DATA_DIR)) || (await isTaken(socket)))
    throw new ConfigError(`another npm start is running on DATA_DIR=${DATA_DIR}; stop it first`);
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o700); // prompts and secrets are for nobody else's eyes
  const args = ["--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", folder];
  // "always": an accepted job is on disk before it is answered for. With "everysec" a kill can cost two seconds of them.
  args.push("--appendonly", "yes", "--appendfsync", "always", "--save", "");
  args.push("--maxmemory", `${maxMemory()}`, "--maxmemory-policy", "noeviction", "--loglevel", "warning");
  // A session of its own: a Ctrl-C in the terminal must not stop it before those who still write to it.
  const kept = new Kept("redis", () => {
    const umask = process.umask(0o077);
    try {
      return spawn("redis-server", args, { detached: true, stdio: ["ignore", "pipe", "pipe"] });
    } finally {
      process.umask(umask);
    }
  });
  const connection = new Redis(socket, {
    connectionName: SUPERVISOR,
    maxRetriesPerRequest: null,
    retryStrategy: () => 50,
  });
  connection.on("error", () => {});
  const answered = await Promise.race([connection.ping(), sleep(10_000)]);
  if (answered === undefined) say("start", "redis has not answered for 10 s; going on without it");
  return {
    url: socket,
    async stop() {
      connection.disconnect();
      await kept.stop();
    },
  };
}

async function checkPort({ PORT, HOST }: Config): Promise<void> {
  const server = createServer();
  try {
    server.listen(PORT, HOST);
    await once(server, "listening");
  } catch (cause) {
    throw new ConfigError(`PORT=${PORT} on ${HOST} cannot be used: ${(cause as Error).message}`);
  } finally {
    server.close();
  }
}

/** Waits until the service takes work, and says why it does not where no model can be served. */
async function untilReady(url: string, redisUrl: string): Promise<void> {
  let isTold = false;
  while (!stopping.signal.aborted) {
    const answer = await fetch(`${url}/ready`).catch(() => undefined);
    if (answer?.ok) return;
    if (!isTold && (await answer?.text())?.includes("no model in MODELS_DIR")) {
      isTold = true;
      say("start", "no model in MODELS_DIR can be served:");
      await sayUnavailable(redisUrl);
    }
    await sleep(200);
  }
}

/** What of MODELS_DIR cannot be served, and why, a line each. */
async function sayUnavailable(redisUrl: string): Promise<void> {
  const redis = new Redis(redisUrl, { maxRetriesPerRequest: null });
  redis.on("error", () => {});
  try {
    const { skipped } = await new Fleet({ ask: (command) => command(redis) }).catalog();
    for (const { shelf, id, reason } of skipped) say("start", `not served: ${shelf}/${id}: ${reason}`);
  } finally {
    redis.disconnect();
  }
}

try {
  const named = readNamed(process.argv.slice(2));
  const fetched = named === null ? null : await fetchNamed(process.env, named, (line) => say("start", line));
  if (fetched !== null) process.env.MODELS_DIR = fetched.models;
  const config = readConfig(process.env);
  const gpu = process.argv.includes("--gpu") || process.env.GPU === "1" ? await gpuSettings(process.env) : {};
  await openFiles(config); // says what is wrong with a certificate before anything runs
  await checkPort(config);
  await mkdir(config.DATA_DIR, { recursive: true });
  const redis = config.REDIS_URL === undefined ? await startRedis(config) : undefined;
  const redisUrl = redis?.url ?? config.REDIS_URL!;
  const env = { ...process.env, REDIS_URL: redisUrl };
  const gateway = new Kept("gateway", () => launchNode("src/gateway/server.ts", env));
  const workers = cardsOf(process.env.GPU_DEVICES).map(
    (card) => new Kept("worker", () => launchNode("workers/generate/main.ts", { ...env, ...gpu, ...card })),
  );
  const trainer = new Kept("trainer", () => launchNode("workers/train/main.ts", env));
  const deliver = new Kept("deliver", () => launchNode("workers/deliver/main.ts", env));

  const stop = async () => {
    if (stopping.signal.aborted) return;
    stopping.abort();
    say("start", "stopping");
    await gateway.stop();
    await Promise.all([...workers, trainer].map((one) => one.stop()));
    await deliver.stop();
    await redis?.stop();
    say("start", "stopped");
    process.exit(0);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "disconnect"] as const) process.on(signal, stop);

  const host = config.HOST.includes(":") ? `[${config.HOST}]` : config.HOST;
  const url = `http://${host}:${config.PORT}`;
  await untilReady(url, redisUrl);
  if (!stopping.signal.aborted) {
    say("start", `ready: open ${url} in a browser (to read: ${url}/docs)`);
    const key = config.API_KEYS.length > 0 ? "-H 'Authorization: Bearer …' " : "";
    const headers = `${key}-H 'Content-Type: application/json' -H 'Prefer: wait=60'`;
    const save = `grep -o 'http[^"]*/images/0' | xargs curl -s ${key}-o picture.png`;
    if (config.MODELS_DIR === DEMO_MODELS_DIR) {
      say("start", "MODELS_DIR is not set: this is the demo's small world of 128×128 pixels");
      const body = `'@${join(import.meta.dirname, "demo/first-request.json")}'`;
      say("start", `try: curl -s ${url}/v1/generations ${headers} -d ${body} | ${save}`);
    } else {
      say("start", `models: ${url}/v1/models`);
    }
    await sayUnavailable(redisUrl);
    if (named?.prompt !== undefined) {
      await savePicture(url, named, fetched!.ids, (line) => say("start", line));
    }
  }
} catch (error) {
  console.error(error instanceof ConfigError || error instanceof HubError ? error.message : error);
  process.exit(1);
}

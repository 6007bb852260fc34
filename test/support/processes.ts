/**
 * Real processes for tests: each on a socket or port of its own, and gone when the test is. What is to end goes on the
 * test's stack, which ends the latest first.
 */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";

export async function temporaryFolder(stack: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cn-"));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/**
 * A DATA_DIR. In npm test all of them keep prepared networks in one place, as workers with one DATA_DIR do: the fixtures' are
 * prepared once, not once a file.
 */
export async function dataFolder(stack: AsyncDisposableStack): Promise<string> {
  const folder = await temporaryFolder(stack);
  const prepared = process.env.TEST_PREPARED;
  if (prepared !== undefined) await symlink(prepared, join(folder, "cache"));
  return folder;
}

/** Below the ports that systems give out by themselves, for connections too: none of those takes one before it is listened at. */
const PORTS = { from: 10_000, to: 32_000 };

export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.to);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").catch(() => false);
    if (isFree === false) continue; // somebody has it
    server.close();
    await once(server, "close");
    return port;
  }
}

/** Asks until it is so; fails after `milliseconds`, long enough for a machine that others keep busy, with what was waited for. */
export async function until<T>(what: string, ask: () => Promise<T>, milliseconds = 60_000): Promise<NonNullable<T>> {
  const end = Date.now() + milliseconds;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${milliseconds} ms in vain for: ${what}`);
    await sleep(20);
  }
}

export async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill(signal);
  await gone;
}

/** A redis-server on a unix socket that has on disk whatever it answers for, so that a restart keeps what it held. */
export async function startRedis(stack: AsyncDisposableStack, ...more: string[]) {
  const folder = await mkdtemp(join(tmpdir(), "cn-redis-"));
  const url = join(folder, "redis.sock");
  const args = ["--port", "0", "--unixsocket", url, "--dir", folder, "--save", "", "--appendonly", "yes"];
  args.push("--appendfsync", "always", ...more);
  let child: ChildProcess;
  const start = async () => {
    child = spawn("redis-server", args, { stdio: "ignore" });
    const redis = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 20 });
    redis.on("error", () => {});
    await redis.ping();
    redis.disconnect();
  };
  const stop = () => kill(child, "SIGTERM");
  const crash = () => kill(child, "SIGKILL");
  // Outlives the test's process, however that ends: when its standard input closes it stops Redis and removes the folder.
  const script = 'cat; redis-cli -s "$1" shutdown nosave; rm -rf "$2"';
  const stdio: StdioOptions = ["pipe", "ignore", "ignore"];
  const cleaner = spawn("sh", ["-c", script, "sh", url, folder], { detached: true, stdio });
  await start();
  stack.defer(async () => {
    cleaner.stdin!.end();
    await once(cleaner, "exit");
  });
  return { url, folder, start, stop, crash, child: () => child };
}

/** A process of this project, with its output kept. */
export function startNode(
  stack: AsyncDisposableStack,
  file: string,
  env: Record<string, string>,
  { words = [], cwd }: { words?: readonly string[]; cwd?: string } = {},
) {
  const path = join(import.meta.dirname, "../..", file);
  const { REDIS_URL: _, ...inherited } = process.env;
  // The IPC channel ends the process when the test's own process is killed.
  const stdio: StdioOptions = ["ignore", "pipe", "pipe", "ipc"];
  const child = spawn(process.execPath, [path, ...words], { env: { ...inherited, ...env }, stdio, cwd });
  const state = { child, output: "" };
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (state.output += chunk));
  stack.defer(() => kill(child, "SIGKILL"));
  return state;
}

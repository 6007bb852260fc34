/** The service as processes of its own: a Redis and a gateway, and a worker or somebody who says what workers would offer. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { heartbeat } from "../../src/jobs/fleet.ts";
import { connectPatiently } from "../../src/redis/connection.ts";
import { CATALOG } from "./gateway.ts";
import { dataFolder, freePort, startNode, startRedis, until } from "./processes.ts";

const OFFER_MS = 1000;
/** Random networks of Stable Diffusion 1.5's form: small, so that what is measured is the service. */
export const TINY_MODELS = join(import.meta.dirname, "../fixtures/sd15");

/** @param work a real worker, with tiny networks; else whoever offers takes nothing */
export async function startService(
  stack: AsyncDisposableStack,
  { appendfsync = "always", work = false }: { appendfsync?: "everysec" | "always"; work?: boolean },
  more: Record<string, string> = {},
) {
  const redis = await startRedis(stack, "--appendfsync", appendfsync);
  const PORT = String(await freePort());
  const env = {
    PORT,
    REDIS_URL: redis.url,
    DATA_DIR: await dataFolder(stack),
    MODELS_DIR: TINY_MODELS,
    EXECUTION_PROVIDER: "cpu",
    ALLOW_HOSTS: "127.0.0.1",
    ...more,
  };
  const connection = connectPatiently(redis.url);
  stack.defer(() => connection.disconnect());
  const gateway = startNode(stack, "src/gateway/server.ts", env);
  const worker = work ? startNode(stack, "workers/generate/main.ts", env) : undefined;
  if (!work) {
    const offering = setInterval(() => heartbeat(connection, "bench", CATALOG).catch(() => {}), OFFER_MS);
    stack.defer(() => clearInterval(offering));
  }
  const url = `http://127.0.0.1:${PORT}`;
  await until("ready", async () => (await fetch(`${url}/ready`).catch(() => undefined))?.ok, 60_000);
  return { url, env, connection, gateway, worker };
}

/** What a process holds, in MB. */
export function residentMegabytes({ pid }: { pid?: number | undefined }): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024;
}

/** A gateway in this process on a port of its own, on a real Redis, with or without a real worker. */
import { join } from "node:path";
import { pino } from "pino";
import { readConfig } from "../../src/config/config.ts";
import { buildApp } from "../../src/gateway/app.ts";
import type { Bounds } from "../../src/gateway/bounds.ts";
import { heartbeat } from "../../src/jobs/fleet.ts";
import { JobQueue } from "../../src/jobs/queue.ts";
import { Outbound } from "../../src/outbound/client.ts";
import { connectPatiently } from "../../src/redis/connection.ts";
import type { Catalog } from "../../src/schema/catalog.ts";
import { MAX_STEPS } from "../../src/schema/fields.ts";
import { SCHEDULERS } from "../../src/schema/schedulers.ts";
import { openStorage } from "../../src/storage/open.ts";
import { clientOf } from "./conforms.ts";
import { dataFolder, freePort, startRedis } from "./processes.ts";

/** Tiny random networks: the model "base" and some ControlNets. */
const MODELS_DIR = join(import.meta.dirname, "../fixtures/sd15");

export const log = pino({ level: "silent" });

const controlnet = (id: string, models: string[], misfits: Record<string, string> = {}) => ({
  id,
  object: "controlnet" as const,
  models,
  misfits,
  residuals: 13,
  global_pool_conditions: false,
  control_types: [],
  warnings: [],
});

/** What a worker could offer: one model, one ControlNet that fits it and one that does not. */
export const CATALOG: Catalog = {
  models: [
    {
      id: "base",
      object: "model",
      created: 0,
      owned_by: "local",
      family: "sd1",
      width: 64,
      height: 48,
      scheduler: "pndm",
      schedulers: SCHEDULERS.filter((id) => id !== "euler_ancestral").map((id) => ({
        id,
        max_inference_steps: id === "lcm" ? 50 : MAX_STEPS,
      })),
      prediction_type: "epsilon",
      residuals: 13,
      max_clip_skip: 12,
      attention_blocks: { down: [2, 2, 2, 0], mid: [1], up: [0, 3, 3, 3] },
      max_branch: 11,
      tiny_decoder: false,
      precision: "float32",
      inpainting: false,
      safety_checker: "none",
      instruct_pix2pix: false,
      trainable: true,
      resolution_multiple: 64,
      warnings: [],
    },
  ],
  controlnets: [
    controlnet("canny", ["base"]),
    controlnet("wide", [], { base: "it reads [B, 77, 2048], not [B, 77, 768]" }),
  ],
  loras: [],
  embeddings: [],
  ip_adapters: [],
  adapters: [],
  annotators: [],
  skipped: [],
  execution_provider: "cpu",
};

/** @param bounds in place of those of src/gateway/bounds.ts */
export async function startGateway(
  stack: AsyncDisposableStack,
  env: Record<string, string> = {},
  to = log,
  bounds: Partial<Bounds> = {},
) {
  const redis = await startRedis(stack);
  const PORT = String(await freePort());
  const DATA_DIR = await dataFolder(stack);
  const settings = readConfig({ PORT, DATA_DIR, MODELS_DIR, EXECUTION_PROVIDER: "cpu", ...env });
  const config = { ...settings, REDIS_URL: redis.url };
  const queue = new JobQueue(redis.url, () => {});
  const storage = openStorage(config);
  const outbound = new Outbound(config);
  const app = await buildApp({ config, queue, storage, outbound, bounds }, to);
  await app.listen({ host: config.HOST, port: config.PORT });
  const connection = connectPatiently(redis.url);
  connection.on("error", () => {});
  stack.defer(async () => {
    await app.close();
    await outbound.close();
    await queue.close();
    connection.disconnect();
  });
  return {
    config,
    redis,
    connection,
    http: clientOf(config.PUBLIC_URL),
    /** Says what a worker would say, so that requests are taken; they stay in the queue. */
    offer: (catalog: Catalog) => heartbeat(connection, "test", catalog),
    /** A worker with the real networks, on threads of this process. */
    async work() {
      const engine = new URL("../../workers/generate/engine-thread.ts", import.meta.url);
      const { startWorker } = await import("../../workers/generate/worker.ts"); // most tests have no use for it
      const worker = await startWorker(config, engine, log, (error) => {
        throw error;
      });
      stack.defer(() => worker.close());
      return worker;
    },
  };
}

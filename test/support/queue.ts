/** A queue as gateways and workers have it, with workers that take a job when a test says so, and a Redis of its own. */
import { type Job, Worker } from "bullmq";
import type { JobKind } from "../../src/jobs/kind.ts";
import { JobQueue, queueName } from "../../src/jobs/queue.ts";
import { connectPatiently } from "../../src/redis/connection.ts";
import { GenerationRequest } from "../../src/schema/generation-request.ts";
import { startRedis, until } from "./processes.ts";

/** A small generation that nothing computes. */
export const REQUEST = GenerationRequest.parse({
  model: "base",
  prompt: "",
  width: 64,
  height: 64,
  scheduler: "ddim",
  seed: 7,
  controls: [],
  image: null,
  mask_image: null,
  strength: null,
});

export async function openQueue(stack: AsyncDisposableStack) {
  const { url } = await startRedis(stack);
  const queue = new JobQueue(url, () => {});
  const redis = connectPatiently(url);
  await until("the queue to have Redis", () => queue.ask((redis) => redis.ping()).catch(() => undefined));
  const workers = new Map<string, Worker>();
  stack.defer(async () => {
    await Promise.all([...workers.values()].map((worker) => worker.close()));
    await queue.close();
    redis.disconnect();
  });
  return {
    queue,
    redis,
    /** The job whose turn it is; undefined when none waits. */
    next(kind: Pick<JobKind, "name">): Promise<Job | undefined> {
      const worker = workers.get(kind.name) ?? new Worker(queueName(kind), null, { connection: redis });
      workers.set(kind.name, worker);
      return worker.getNextJob("token", { block: false });
    },
    done: (job: Job) => job.moveToCompleted(undefined, "token", false),
    /** It waits again. */
    async again(job: Job, priority: number) {
      await job.changePriority({ priority });
      await job.moveToWait("token");
    },
  };
}

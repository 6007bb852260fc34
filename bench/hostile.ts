/** Whether the gateway lives and keeps its memory under a hostile client: npm run bench hostile. */
import { attack } from "../test/support/hostile/client.ts";
import { residentMegabytes, startService } from "../test/support/service.ts";

/** 20,000 requests against a gateway as a process, on a Redis of its own, with workers that offer and never take. */
export async function run(): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const { url: base, gateway } = await startService(
    stack,
    {},
    { ALLOW_HOSTS: "", LOG_LEVEL: "fatal", MAX_QUEUE: "300" },
  );

  const PARTS = 5;
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  console.log(`hostile client, seed ${seed}: 5 × 4,000 requests made from the OpenAPI document`);
  const memory: number[] = [];
  for (let part = 0; part < PARTS; part++) {
    const started = Date.now();
    const { sent, statuses } = await attack(base, 4000, seed + part);
    if (gateway.child.exitCode !== null || gateway.child.signalCode !== null) throw new Error("the gateway has died");
    memory.push(Math.round(residentMegabytes(gateway.child)));
    const seconds = (Date.now() - started) / 1000;
    console.log(
      `${sent} requests in ${seconds.toFixed(1)} s, gateway ${memory.at(-1)} MB: ${JSON.stringify(statuses)}`,
    );
  }
  const health = await fetch(`${base}/health`);
  const growth = memory.at(-1)! - memory[1]!;
  console.log(`health ${health.status}; memory over the last three fifths: ${growth} MB`);
  if (growth > 64) throw new Error(`memory has grown by ${growth} MB`);
}

if (import.meta.main) await run();

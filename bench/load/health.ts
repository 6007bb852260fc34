/** Whether the gateway answers while a worker on the same machine computes: `/health`, asked every few milliseconds. */
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../../test/support/processes.ts";
import { startService } from "../../test/support/service.ts";
import { printTable, spread } from "../table.ts";

const EVERY_MS = 5;
/** A picture that keeps the tiny networks busy for longer than is asked. */
const LONG = { prompt: "", num_inference_steps: 150, width: 512, height: 512, scheduler: "ddim" };

export async function health(seconds: number): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const { url } = await startService(stack, { work: true });
  const ask = async () => {
    const milliseconds: number[] = [];
    for (const end = performance.now() + 1000 * seconds; performance.now() < end; await sleep(EVERY_MS)) {
      const asked = performance.now();
      await (await fetch(`${url}/health`)).text();
      milliseconds.push(performance.now() - asked);
    }
    return milliseconds;
  };
  const idle = await ask();
  for (let n = 0; n < 10; n++) {
    const headers = { "content-type": "application/json" };
    await fetch(`${url}/v1/generations`, { method: "POST", headers, body: JSON.stringify(LONG) });
  }
  const processing = async () => {
    const answer = await fetch(`${url}/v1/generations?status=processing`);
    if (!answer.ok) return undefined;
    const { data } = (await answer.json()) as { data: { progress: { step: number } }[] };
    return data[0];
  };
  await until("a first step", async () => (await processing())?.progress.step, 60_000);
  const busy = await ask();
  if ((await processing()) === undefined) throw new Error("the worker was done before the asking was");
  printTable(
    ["/health", "p50, ms", "p99, ms", "max, ms"],
    [
      ["worker idle", ...spread(idle)],
      ["worker computing", ...spread(busy)],
    ],
  );
}

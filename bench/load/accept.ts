/**
 * How fast requests are accepted: validated, a record and its lists written, a job queued, and answered with 202, while
 * no worker takes any. The client is a process on the same machine.
 */

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { encodeImage } from "../../src/image/encode.ts";
import { elsewhere } from "../../test/support/elsewhere.ts";
import { startService } from "../../test/support/service.ts";
import { printTable, spread } from "../table.ts";
import type { Job, Sent } from "./accept-client.ts";

/** Clients that each wait for their answer. */
const CLIENTS = 16;
const AIM_PER_SECOND = 1000;
/** Enough that a request that is due need not wait for a connection; and as many clients share a write to the disk. */
const CONNECTIONS = 64;
const WARM_UP_SECONDS = 3;
const SIDE = 512;

/** Seconds of processor time that a process has used: fields 14 and 15 of its stat, in hundredths. */
function cpuSeconds({ pid }: { pid?: number | undefined }): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

export async function accept(seconds: number): Promise<void> {
  const plain = { prompt: "a red house by the sea", negative_prompt: "people", seed: 7, metadata: { order: 4711 } };
  const png = await encodeImage({ width: SIDE, height: SIDE, data: edges() }, "png");
  const image = `data:image/png;base64,${Buffer.from(png).toString("base64")}`;
  const controlled = { ...plain, controls: [{ controlnet: "canny", image }] };
  const rows: (string | number)[][] = [];
  for (const appendfsync of ["always", "everysec"] as const) {
    await using stack = new AsyncDisposableStack();
    const { url, gateway } = await startService(
      stack,
      { appendfsync },
      { MAX_QUEUE: "1000000", MAX_KEPT_PER_KEY: "1000000" },
    );
    const send = (request: object, perSecond: number | null, connections: number, seconds: number) => {
      const job: Job = { url, body: JSON.stringify(request), seconds, connections, perSecond };
      return elsewhere(stack, new URL("accept-client.ts", import.meta.url), job).next<Sent>();
    };
    await send(plain, null, CLIENTS, WARM_UP_SECONDS);
    await send(plain, AIM_PER_SECOND, CONNECTIONS, WARM_UP_SECONDS);
    await send(controlled, null, CLIENTS, WARM_UP_SECONDS);
    const imaged = `a control image of ${SIDE}² in each (${(png.length / 1024).toFixed(0)} kB)`;
    for (const [what, request, perSecond, connections] of [
      [`${AIM_PER_SECOND} a second are sent`, plain, AIM_PER_SECOND, CONNECTIONS],
      [`the same, ${imaged}`, controlled, AIM_PER_SECOND, CONNECTIONS],
      [`${CLIENTS} clients, each after its answer`, plain, null, CLIENTS],
      [`the same, ${imaged}`, controlled, null, CLIENTS],
      [`${CONNECTIONS} clients, ${imaged}`, controlled, null, CONNECTIONS],
    ] as const) {
      const before = cpuSeconds(gateway.child);
      const { milliseconds, others, ...took } = await send(request, perSecond, connections, seconds);
      const cpu = (1000 * (cpuSeconds(gateway.child) - before)) / milliseconds.length;
      const count = (milliseconds.length / took.seconds).toFixed(0);
      rows.push([what, appendfsync, count, ...spread(milliseconds), cpu.toFixed(2)]);
      if (Object.keys(others).length > 0) throw new Error(`not all were accepted: ${JSON.stringify(others)}`);
    }
  }
  printTable(["requests", "AOF", "accepted/s", "p50, ms", "p99, ms", "max, ms", "gateway's CPU, ms each"], rows);
}

/** What edges of a picture look like to a PNG encoder: mostly black, a twentieth of it noise. */
function edges(): Uint8Array {
  const dice = randomBytes(SIDE * SIDE);
  return Uint8Array.from({ length: 3 * SIDE * SIDE }, (_, i) => (dice[Math.floor(i / 3)]! < 13 ? 255 : 0));
}

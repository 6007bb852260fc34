/** `npm start` as a bench has it: the whole service on the demo's checkpoint, with a Redis of its own, and what each process takes. */
import { cpSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { DEMO_MODELS_DIR } from "../src/config/config.ts";
import { freePort, kill, startNode, temporaryFolder, until } from "../test/support/processes.ts";

/** Processes that are looked at, by the names that `npm start` gives them. */
export const ROLES = ["gateway", "worker", "trainer", "deliver", "redis"] as const;
export type Role = (typeof ROLES)[number];

export interface Running {
  url: string;
  dataDir: string;
  /** What each process holds now, in MB; 0 of one that is not there. */
  resident(): Record<Role, number>;
  /** How often each process has been started. */
  starts(): Record<Role, number>;
  /** Of Redis' memory, as it counts it itself, in MB. */
  redisMemory(): Promise<number>;
}

/** @param keys name:key, of those who may ask; the last one's is for metrics */
export async function startStack(
  stack: AsyncDisposableStack,
  keys: Readonly<Record<string, string>>,
  more: Record<string, string> = {},
): Promise<Running> {
  const folder = await temporaryFolder(stack);
  const models = join(folder, "models");
  cpSync(DEMO_MODELS_DIR, models, { recursive: true }); // one that can be trained for
  const PORT = String(await freePort());
  const dataDir = join(folder, "data");
  const named = Object.entries(keys);
  const API_KEYS = named.map(([name, key]) => `${name}:${key}`).join();
  const env = { PORT, DATA_DIR: dataDir, MODELS_DIR: models, EXECUTION_PROVIDER: "cpu", API_KEYS, LOG_LEVEL: "warn" };
  const supervisor = startNode(stack, "start.ts", { ...env, ...more });
  stack.defer(() => kill(supervisor.child, "SIGTERM")); // it stops its Redis
  const url = `http://127.0.0.1:${PORT}`;
  await until("ready", async () => supervisor.output.includes("ready: open"), 120_000).catch((error) => {
    throw new Error(supervisor.output, { cause: error });
  });
  const pids = (role: Role) =>
    [...supervisor.output.matchAll(new RegExp(`${role} runs \\(pid (\\d+)\\)`, "g"))].map(([, pid]) => Number(pid));
  const each = (of: (role: Role) => number) =>
    Object.fromEntries(ROLES.map((role) => [role, of(role)])) as Record<Role, number>;
  const [, key] = named.at(-1)!;
  return {
    url,
    dataDir,
    resident: () => each((role) => residentOf(pids(role).at(-1))),
    starts: () => each((role) => pids(role).length),
    async redisMemory() {
      const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${key}` } });
      return Number(/^controlnet_redis_memory_bytes (\S+)/m.exec(await answer.text())?.[1] ?? Number.NaN) / 2 ** 20;
    },
  };
}

function residentOf(pid: number | undefined): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

/** How busy others keep the machine: what is measured then says little. */
export const loadOf = () => `${readFileSync("/proc/loadavg", "utf8").split(" ")[0]} on ${cpus().length} cores`;

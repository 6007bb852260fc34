/** Where a bench has its checkpoints and caches: in temporary folders (of TMPDIR). */
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gb } from "./table.ts";

const temporary = new Set<string>();

/** After each bench, and whenever the process ends by itself or is asked to. */
export function removeTemporary(): void {
  for (const folder of temporary) {
    rmSync(folder, { recursive: true, force: true });
  }
  temporary.clear();
}
process.once("exit", removeTemporary);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => process.exit(1));
}

/** An empty folder. */
export function temporaryFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `bench-${name}-`));
  temporary.add(folder);
  return folder;
}

/**
 * The MODELS_DIR that `write` fills. BENCH_DIR names a folder to keep it in, under its name, for the next time.
 * @param bytes of disk that the whole bench takes, in temporary folders
 * @throws Error when the disk has not as many
 */
export async function modelsFolder(
  name: string,
  bytes: number,
  write: (folder: string) => Promise<void>,
): Promise<string> {
  const kept = process.env.BENCH_DIR && join(process.env.BENCH_DIR, name);
  if (kept && existsSync(kept)) {
    return kept;
  }
  const parent = process.env.BENCH_DIR ?? tmpdir();
  mkdirSync(parent, { recursive: true });
  const { bavail, bsize } = statfsSync(parent);
  if (bavail * bsize < bytes) {
    throw new Error(`${parent} has ${gb(bavail * bsize)} left, ${gb(bytes)} are needed: TMPDIR names another folder`);
  }
  const folder = mkdtempSync(join(parent, `bench-${name}-`));
  temporary.add(folder);
  await write(folder);
  if (!kept) {
    return folder;
  }
  renameSync(folder, kept);
  temporary.delete(folder);
  return kept;
}

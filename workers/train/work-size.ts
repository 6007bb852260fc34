/** What a training under way has on the trainer's disk beside its dataset: its state, rows that the base has made, pictures. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

/** In bytes; what comes or goes meanwhile counts or not. @param archive the dataset as it came, which is counted by itself */
export async function workSize(folder: string, archive: string | null): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name);
    if (path === archive) continue;
    if (entry.isDirectory()) bytes += await workSize(path, archive);
    else
      bytes += await stat(path).then(
        ({ size }) => size,
        () => 0,
      );
  }
  return bytes;
}

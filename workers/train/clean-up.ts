/** What is removed after a training: at its end, or later where its trainer has died. */
import { readdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { countFiles } from "../../src/jobs/files-made.ts";
import { MODELS_CHANNEL } from "../../src/jobs/fleet.ts";
import { recordKey } from "../../src/jobs/keys.ts";
import { hasEnded, parseRecord } from "../../src/jobs/record.ts";
import type { TrainingRecord } from "../../src/jobs/training.ts";
import { datasetKey } from "../../src/storage/keys.ts";
import { type TrainingParts, trainingFolder } from "./perform.ts";
import { Place } from "./publish.ts";

/** Removes what a training that has ended has no more use for; its work folder last, which says that it is not done. */
export async function cleanUp(
  { config, redis, storage }: Pick<TrainingParts, "config" | "redis" | "storage">,
  id: string,
  name: string,
  status: string,
): Promise<void> {
  const place = new Place(config.MODELS_DIR, name, id);
  if (status === "succeeded") await place.sweep();
  // It can have been canceled while it was brought to its place.
  else if (await place.withdraw()) await redis.publish(MODELS_CHANNEL, name);
  await storage.remove(datasetKey(id));
  for (const part of ["dataset", "unpacked", "work"] as const) await countFiles(redis, id, part, 0);
  await rm(trainingFolder(config, id), { recursive: true, force: true });
}

/** Cleans up after trainings that ended without their worker, and removes the folders of those whose record is gone. */
export async function sweepTrainings(parts: Pick<TrainingParts, "config" | "redis" | "storage">): Promise<void> {
  const trainings = dirname(trainingFolder(parts.config, "any"));
  for (const id of await readdir(trainings).catch(() => [])) {
    if (!id.startsWith("trn_")) continue;
    const record = parseRecord(id, await parts.redis.hgetall(recordKey(id))) as TrainingRecord | undefined;
    // How one has ended whose record is gone nobody knows: what it has brought stays.
    if (record === undefined) await rm(trainingFolder(parts.config, id), { recursive: true, force: true });
    else if (hasEnded(record)) await cleanUp(parts, id, record.request.name, record.status);
  }
}

/** What a training's files take of the disk, counted as its owner's as they come and go; when its record goes, all of it is gone. */
import type { Redis } from "ioredis";
import { script } from "../redis/script.ts";
import { recordKey, SCRIPT_NAMES } from "./keys.ts";

const runCountFiles = script(new URL("lua/count-files.lua", import.meta.url), SCRIPT_NAMES);

/** The archive as it came; what it unpacks to; what it goes on from while it is not done; pictures that it has made to show; its curve. */
type Part = "dataset" | "unpacked" | "work" | "pictures" | "curve";

/** Says how many bytes a part of a job's files has now. */
export async function countFiles(redis: Redis, id: string, part: Part, bytes: number): Promise<void> {
  await runCountFiles(redis, [recordKey(id)], part, bytes, "");
}

/** Says how many bytes a part of a job's files has more since a step; said again, as after a takeover, it counts once. */
export async function countMore(redis: Redis, id: string, part: Part, bytes: number, step: number): Promise<void> {
  await runCountFiles(redis, [recordKey(id)], part, bytes, step);
}

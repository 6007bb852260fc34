/** The keys under which a job's files are kept. */
import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { kindOf } from "../jobs/kinds.ts";

/** So much is hashed at a time, a quarter of a ms: of several bodies each takes its slice in every turn of the event loop. */
const SLICE = 2 ** 18;

/** A hash in hex. Whatever else the process does goes on meanwhile. */
export async function hashOf(algorithm: "sha256" | "md5", bytes: Uint8Array): Promise<string> {
  const hash = createHash(algorithm);
  for (let at = 0; at < bytes.length; at += SLICE) {
    if (at > 0) await setImmediate();
    hash.update(bytes.subarray(at, at + SLICE));
  }
  return hash.digest("hex");
}

/** The name of an image in the echo of a request. */
export async function imageHash(bytes: Uint8Array): Promise<string> {
  return `sha256:${await hashOf("sha256", bytes)}`;
}

/** The folder of a generation's images, in and out, or of what a training was given and shows. */
export function jobFolder(id: string): string {
  return `${kindOf(id).name}s/${id}`;
}

const hex = (hash: string) => hash.slice("sha256:".length);

/**
 * Where an image lies that a job was given; `hash` as made by {@link imageHash}. Those of all jobs are in one folder: of names that come
 * at the same time, the disk makes all durable at once.
 */
export const inputKey = (id: string, hash: string) => `inputs/${id}-${hex(hash)}`;

/** Where it lay before that: jobs of then may still wait, or be kept. */
export const earlierInputKey = (id: string, hash: string) => `${jobFolder(id)}/input-${hex(hash)}`;

/**
 * Where a generation's picture lies; `sha256` of its bytes, in hex. By content, so that a worker that was thought dead
 * cannot put another provider's picture in the place of the one that counts.
 */
export function outputKey(id: string, sha256: string): string {
  return `${jobFolder(id)}/image-${sha256}`;
}

/** Where a training's dataset lies, when it is an archive. */
export const datasetKey = (id: string) => `${jobFolder(id)}/dataset`;
/** Where a training's curve lies, when there is one. */
export const lossKey = (id: string, type: "csv" | "png") => `${jobFolder(id)}/loss.${type}`;
/** Where a training's picture number `index` of a step lies. */
export const validationKey = (id: string, step: number, index: number) =>
  `${jobFolder(id)}/validation-${step}-${index}`;

/** The keys under which a job's files are kept. */
import { createHash } from "node:crypto";
import { kindOf } from "../jobs/kinds.ts";

/** The name of an image in the echo of a request. */
export function imageHash(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The folder of a generation's images, in and out, or of what a training was given and shows. */
export function jobFolder(id: string): string {
  return `${kindOf(id).name}s/${id}`;
}

/** Where a control image lies; `hash` as made by {@link imageHash}. */
export function inputKey(id: string, hash: string): string {
  return `${jobFolder(id)}/input-${hash.slice("sha256:".length)}`;
}

/** The hash of the image under a key that {@link inputKey} has made, in a list; none of another. */
export function hashOfKey(key: string): string[] {
  const hex = /\/input-([0-9a-f]{64})$/.exec(key)?.[1];
  return hex === undefined ? [] : [`sha256:${hex}`];
}

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

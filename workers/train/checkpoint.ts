/** What a training goes on from after a kill: state.safetensors, settings.json and loss.csv in its work folder. */
import { existsSync, mkdirSync, readFileSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NoRoom } from "../../src/errors.ts";
import { readCheckpoint } from "../../src/models/checkpoint.ts";
import type { TrainingSettings } from "../../src/schema/training-request.ts";
import { RESERVE_BYTES } from "../../src/storage/room.ts";
import { CSV_HEAD, csvLine, parseCsv, type StepRecord } from "../../src/training/curve.ts";
import { readTensor, writeSafetensors } from "../../src/training/stored.ts";
import type { TrainingState } from "./step.ts";

/** The training cannot go on as it was asked for; nothing that it has done is lost. */
export class TrainingError extends Error {
  override readonly name = "TrainingError";
}

const paths = (work: string) => ({
  state: join(work, "state.safetensors"),
  settings: join(work, "settings.json"),
  losses: join(work, "loss.csv"),
});

const parts = ({ parameters, moments, average }: TrainingState): Record<string, Float32Array> => ({
  parameters: parameters.data,
  first_moments: moments.first,
  second_moments: moments.second,
  ...(average !== null && { average: average.data }),
});

/**
 * Makes the work folder, or finds it as a training with these settings left it.
 * @throws TrainingError when it belongs to another training, or the disk has no room for what this one keeps
 */
export function claimWork(work: string, settings: TrainingSettings, state: TrainingState): void {
  const { settings: file, losses } = paths(work);
  mkdirSync(work, { recursive: true });
  const text = `${JSON.stringify(settings, null, 2)}\n`;
  if (existsSync(file)) {
    const own = readFileSync(file, "utf8");
    if (own !== text) {
      throw new TrainingError(`${work} holds a training with other settings:\n${own}`);
    }
    return;
  }
  // Twice, because a new state is whole on the disk before it takes the old one's place; and once the result.
  const bytes = Object.values(parts(state)).reduce((sum, { byteLength }) => sum + byteLength, 0);
  const needed = 2 * bytes + state.parameters.data.byteLength;
  requireSpace(work, "the training's state and result", needed);
  writeFileSync(losses, CSV_HEAD);
  writeFileSync(file, text);
}

/**
 * @param what needs so many bytes more
 * @throws TrainingError when the disk that `folder` lies on has no room for them beside `reserve`
 */
export function requireSpace(folder: string, what: string, bytes: number, reserve = RESERVE_BYTES): void {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  if (free < bytes + reserve) {
    const room = `${megabytes(free)} are free on the work folder's disk, where ${megabytes(reserve)} stay free`;
    throw new TrainingError(`${what}: ${megabytes(bytes)} more are needed; ${room}`);
  }
}

const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;

/** @throws {NoRoom} when so many bytes more would take what must stay free of the disk: the training waits until there is room */
export function waitForSpace(folder: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < bytes + RESERVE_BYTES) throw new NoRoom(RESERVE_BYTES);
}

/** @throws {NoRoom} and then goes on from the one before */
export function saveCheckpoint(work: string, state: TrainingState, step: number): void {
  const bytes = Object.values(parts(state)).reduce((sum, { byteLength }) => sum + byteLength, 0);
  waitForSpace(work, bytes);
  const tensors = Object.entries(parts(state)).map(([name, data]) => [name, { dims: [data.length], data }] as const);
  const all = new Map([...tensors, ["step", { dims: [1], data: Float32Array.of(step) }] as const]);
  writeSafetensors(paths(work).state, all, "F32");
}

/** Fills `state` with the last one saved. Returns how many steps it had done: 0 when there is none. */
export function restoreCheckpoint(work: string, state: TrainingState): number {
  const { state: file } = paths(work);
  if (!existsSync(file)) {
    return 0;
  }
  const checkpoint = readCheckpoint(file);
  const step = new Float32Array(1);
  for (const [name, data] of Object.entries({ ...parts(state), step })) readTensor(checkpoint, name, data);
  return step[0]!;
}

/** The losses up to `step`, in the file too: a kill may have come after more of them. */
export function restoreLosses(work: string, step: number): StepRecord[] {
  const { losses } = paths(work);
  const records = parseCsv(readFileSync(losses, "utf8"), step);
  writeFileSync(losses, CSV_HEAD + records.map(csvLine).join(""));
  return records;
}

export const appendLoss = (work: string, record: StepRecord) =>
  writeFileSync(paths(work).losses, csvLine(record), { flag: "a" });

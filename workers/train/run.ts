/** A training from beginning to end, or from where it was killed: where a reader starts. */
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { encodeImage } from "../../src/image/encode.ts";
import type { TrainingSettings } from "../../src/schema/training-request.ts";
import { curve, type StepRecord } from "../../src/training/curve.ts";
import { Draws } from "../../src/training/draws.ts";
import { learningRate } from "../../src/training/learning-rate.ts";
import { openBaseTraining } from "./base.ts";
import {
  appendLoss,
  claimWork,
  restoreCheckpoint,
  restoreLosses,
  saveCheckpoint,
  TrainingError,
  waitForSpace,
} from "./checkpoint.ts";
import { openControlnetTraining } from "./controlnet.ts";
import { Stepper, startState, type TrainingState } from "./step.ts";
import type { Folders, OpenSubject, Preparing, Signal, Subject } from "./subject.ts";
import { openVaeTraining } from "./vae.ts";

export const subjects = {
  controlnet: openControlnetTraining,
  base: openBaseTraining,
  vae: openVaeTraining,
} satisfies Record<string, OpenSubject>;
export type SubjectName = keyof typeof subjects;

export interface Listeners extends Preparing {
  /** `saved`: null, or, when the training was saved at this step, the files of the pictures that were made. */
  readonly onStep: (record: StepRecord, saved: readonly string[] | null) => void;
  /** A run that goes on tells again of the steps after this one that it has done; absent = of none. */
  readonly toldUpTo?: number;
  /** Aborted, the training stops after the step or the evaluation under way, and can go on from it. */
  readonly signal: Signal;
}

/**
 * Trains until max_train_steps, then writes the network to folders.output. Started again with the same folders and settings, it goes
 * on from its last checkpoint, to the same losses.
 * @returns whether it came to the end
 * @throws DatasetError, CheckpointError, UnsupportedError, TrainingError, MemoryError before the first step; TrainingError when the disk is full
 */
export async function train(...what: Parameters<typeof run>): Promise<boolean> {
  try {
    return await run(...what);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOSPC") {
      const message = `the disk of ${what[1].work} is full; with room again, the same training goes on`;
      throw new TrainingError(message, { cause: error });
    }
    throw error;
  }
}

async function run(
  name: SubjectName,
  folders: Folders,
  settings: TrainingSettings,
  { onStep, toldUpTo, signal, ...preparing }: Listeners,
): Promise<boolean> {
  const subject = await subjects[name](folders, settings, preparing);
  const state = startState(subject.start(), settings);
  claimWork(folders.work, settings, state);
  const done = restoreCheckpoint(folders.work, state);
  const losses = restoreLosses(folders.work, done);
  const isSaved = (step: number) => step % settings.checkpointing_steps === 0 || step === settings.max_train_steps;
  const show = (step: number) => savePictures(folders.work, step, subject, state, signal);
  if (done > 0 && isSaved(done) && (await show(done)) === null) {
    return false;
  }
  for (const record of losses.slice(toldUpTo ?? done)) {
    onStep(record, isSaved(record.step) ? picturesOf(folders.work, record.step) : null);
  }

  const cells = settings.resolution / 8;
  const graph = (rows: number) => subject.graph(state.parameters, { batch: rows, height: cells, width: cells });
  await using stepper = await Stepper.open(graph, settings.train_batch_size, state);
  const draws = new Draws(settings, subject.count);
  const { gradient_accumulation_steps: batches, max_train_steps: last } = settings;
  let step = done;
  while (step < last && !signal.aborted) {
    let loss = 0;
    for (let i = 0; i < batches; i++) {
      loss += (await stepper.accumulate(await subject.feeds(draws.batch(step * batches + i)))) / batches;
    }
    step += 1;
    const learning_rate = learningRate(step, settings);
    const grad_norm = stepper.update(step, { ...settings, learning_rate });
    if (!Number.isFinite(loss)) {
      throw new TrainingError(`the loss of step ${step} is not a number: a smaller learning rate may help`);
    }
    const record = { step, loss, learning_rate, grad_norm };
    losses.push(record);
    appendLoss(folders.work, record);
    let saved: string[] | null = null;
    if (isSaved(step)) {
      await drawCurve(folders.work, losses);
      saveCheckpoint(folders.work, state, step);
      saved = await show(step);
      if (saved === null) {
        return false; // the run that goes on makes the pictures that are missing, and then tells of the step
      }
    }
    onStep(record, saved);
    await new Promise(setImmediate); // signals are heard between steps
  }
  if (step < last) {
    await drawCurve(folders.work, losses);
    saveCheckpoint(folders.work, state, step);
    return false;
  }
  await subject.save(state.average ?? state.parameters);
  return true;
}

const pictureFile = (work: string, step: number, index: number) => join(work, "validation", `${step}-${index}.png`);

/** The files of the pictures that were made at a step. */
function picturesOf(work: string, step: number): string[] {
  const files: string[] = [];
  while (existsSync(pictureFile(work, step, files.length))) {
    files.push(pictureFile(work, step, files.length));
  }
  return files;
}

/**
 * Makes the pictures of a step that there are not yet.
 * @returns the files of all of them, in the order of the pictures; null when it was stopped
 */
async function savePictures(
  work: string,
  step: number,
  subject: Subject,
  { average, parameters }: TrainingState,
  signal: Signal,
): Promise<string[] | null> {
  const files = picturesOf(work, step);
  for await (const picture of subject.show?.(average ?? parameters, files.length, signal) ?? []) {
    const file = pictureFile(work, step, files.length);
    mkdirSync(join(work, "validation"), { recursive: true });
    const png = await encodeImage(picture, "png");
    waitForSpace(work, png.length);
    writeFileSync(`${file}.part`, png);
    renameSync(`${file}.part`, file);
    files.push(file);
  }
  return signal.aborted ? null : files;
}

async function drawCurve(work: string, losses: readonly StepRecord[]): Promise<void> {
  const picture = await sharp(Buffer.from(curve(losses)))
    .png()
    .toBuffer();
  writeFileSync(join(work, "loss.png"), picture);
}

/** A training from beginning to end, or from where it was killed: where a reader starts. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { encode } from "../../src/image/encode.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import type { TrainingSettings } from "../../src/schema.ts";
import { curve, type StepRecord } from "../../src/training/curve.ts";
import { Draws } from "../../src/training/draws.ts";
import { learningRate } from "../../src/training/learning-rate.ts";
import { openBaseTraining } from "./base.ts";
import { appendLoss, claim, restoreLosses, restoreState, saveState, TrainingError } from "./checkpoint.ts";
import { openControlnetTraining } from "./controlnet.ts";
import type { Folders, OnPreparing, OpenSubject } from "./subject.ts";
import { startState, Trainer } from "./trainer.ts";
import { openVaeTraining } from "./vae.ts";

export const subjects = {
  controlnet: openControlnetTraining,
  base: openBaseTraining,
  vae: openVaeTraining,
} satisfies Record<string, OpenSubject>;
export type SubjectName = keyof typeof subjects;

export interface Listeners {
  readonly onPreparing: OnPreparing;
  readonly onStep: (record: StepRecord) => void;
  /** Aborted, the training stops after the step under way, and can go on from it. */
  readonly signal: AbortSignal;
}

/**
 * Trains until max_train_steps, then writes the network to folders.output. Started again with the same folders and settings, it goes
 * on from its last checkpoint, to the same losses.
 * @returns whether it came to the end
 * @throws DatasetError, CheckpointError, UnsupportedError, TrainingError before the first step; TrainingError when the disk is full
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
  { onPreparing, onStep, signal }: Listeners,
): Promise<boolean> {
  const subject = await subjects[name](folders, settings, onPreparing);
  const state = startState(subject.start(), settings);
  claim(folders.work, settings, state);
  const done = restoreState(folders.work, state);
  const losses = restoreLosses(folders.work, done);

  const cells = settings.resolution / 8;
  const graph = (rows: number) => subject.graph(state.parameters, { batch: rows, height: cells, width: cells });
  const trainer = await Trainer.open(graph, settings.train_batch_size, state);
  const draws = new Draws(settings, subject.count);
  const { gradient_accumulation_steps: batches, max_train_steps: last } = settings;
  let step = done;
  while (step < last && !signal.aborted) {
    let loss = 0;
    for (let i = 0; i < batches; i++) {
      loss += (await trainer.accumulate(await subject.feeds(draws.batch(step * batches + i)))) / batches;
    }
    step += 1;
    const learning_rate = learningRate(step, settings);
    const grad_norm = trainer.update(step, { ...settings, learning_rate });
    if (!Number.isFinite(loss)) {
      throw new TrainingError(`the loss of step ${step} is not a number: a smaller learning rate may help`);
    }
    const record = { step, loss, learning_rate, grad_norm };
    losses.push(record);
    appendLoss(folders.work, record);
    if (step % settings.checkpointing_steps === 0 || step === last) {
      saveState(folders.work, state, step);
      await savePictures(folders.work, step, await subject.show(state.average ?? state.parameters));
    }
    onStep(record);
    await new Promise(setImmediate); // signals are heard between steps
  }
  await trainer.release();
  await drawCurve(folders.work, losses);
  if (step < last) {
    saveState(folders.work, state, step);
    return false;
  }
  await subject.save(state.average ?? state.parameters);
  return true;
}

async function savePictures(work: string, step: number, pictures: readonly Pixels[]): Promise<void> {
  for (const [i, picture] of pictures.entries()) {
    mkdirSync(join(work, "validation"), { recursive: true });
    writeFileSync(join(work, "validation", `${step}-${i}.png`), await encode(picture, "png"));
  }
}

async function drawCurve(work: string, losses: readonly StepRecord[]): Promise<void> {
  const picture = await sharp(Buffer.from(curve(losses)))
    .png()
    .toBuffer();
  writeFileSync(join(work, "loss.png"), picture);
}

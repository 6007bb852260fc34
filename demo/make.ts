/** The demo checkpoint from nothing: how `demo/train.ts` follows its plan. */
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { TrainingSettings } from "../src/schema/training-request.ts";
import { STEM } from "../workers/train/components.ts";
import { type SubjectName, train } from "../workers/train/run.ts";
import { LATENTS, writeConfigs, writeControlnetConfig } from "./configs.ts";
import { writeHints, writePictures } from "./dataset.ts";
import { evenLatents } from "./latents.ts";
import type { Plan } from "./plan.ts";
import { writeVocabulary } from "./vocabulary.ts";
import { render } from "./world/render.ts";
import { scene } from "./world/scene.ts";

export interface Making {
  /** Where datasets, states and results are kept. `models` in it is a MODELS_DIR as soon as the base is trained. */
  readonly folder: string;
  readonly log: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Steps between two lines of the log. */
const TOLD = 100;

const baseIn = ({ folder }: Making) => join(folder, "models/demo");

/** Tells how far something is, in tenths; ends it when the signal comes. */
const tenths =
  ({ log, signal }: Making, what: string, total: number) =>
  (done: number) => {
    signal.throwIfAborted();
    if (done > 0 && done % Math.ceil(total / 10) === 0) {
      log(`${what}: ${done}/${total}`);
    }
  };

/** Trains one network, to its end, from `dataset`, into `output`. */
async function teach(
  making: Making,
  subject: SubjectName,
  name: string,
  dataset: string,
  output: string,
  settings: TrainingSettings,
): Promise<void> {
  const { folder, log, signal } = making;
  const total = settings.max_train_steps;
  log(`${name}: ${total} steps of ${settings.train_batch_size} pictures`);
  // All see the same pictures: what the VAE and the text encoder make of them is computed once.
  const work = join(folder, "work", name);
  mkdirSync(join(folder, "cache"), { recursive: true });
  mkdirSync(work, { recursive: true });
  if (!existsSync(join(work, "cache"))) {
    symlinkSync("../../cache", join(work, "cache"));
  }
  let [losses, count, since] = [0, 0, performance.now()];
  const finished = await train(subject, { base: baseIn(making), dataset, validation: null, output, work }, settings, {
    onPreparing: (what, done, all) => tenths(making, `${name}: ${what}`, all)(done),
    onStep: ({ step, loss }) => {
      losses += loss;
      count += 1;
      if (step % TOLD === 0) {
        const seconds = (performance.now() - since) / 1000 / count;
        const left = (seconds * (total - step)) / 3600;
        log(
          `${name}: ${step}/${total}, loss ${(losses / count).toFixed(4)}, ${seconds.toFixed(2)} s/step, ${left.toFixed(1)} h left`,
        );
        [losses, count, since] = [0, 0, performance.now()];
      }
    },
    signal,
  });
  if (!finished) {
    log(`${name}: stopped`);
    throw signal.reason;
  }
  log(`${name}: trained`);
}

const isTrained = (component: string, stem: keyof typeof STEM) =>
  existsSync(join(component, `${STEM[stem]}.safetensors`));

async function makeBase(making: Making, plan: Plan, pictures: string): Promise<void> {
  const base = baseIn(making);
  if (!existsSync(join(base, "model_index.json"))) {
    const captions = Array.from({ length: plan.scenes }, (_, seed) => scene(seed).caption);
    writeConfigs(base, writeVocabulary(join(base, "tokenizer"), captions));
  }
  if (!isTrained(join(base, "vae"), "vae")) {
    await teach(making, "vae", "vae", pictures, base, plan.vae);
  }
  const some = () => Promise.all(Array.from({ length: plan.evenedBy }, (_, seed) => render(scene(seed))));
  await evenLatents(base, some, LATENTS);
  // Of the base's two components the text encoder is written last.
  if (!isTrained(join(base, "text_encoder"), "text_encoder")) {
    await teach(making, "base", "base", pictures, base, plan.base);
  }
}

/**
 * Begins, or goes on with what was begun in the folder under the same plan.
 * @throws the signal's reason, when it was stopped; what is done stays
 */
export async function makeDemo(making: Making, plan: Plan): Promise<void> {
  const { folder, log } = making;
  const steps = [["vae", plan.vae] as const, ["base", plan.base] as const, ...plan.controlnets];
  log(`plan: ${steps.map(([name, { max_train_steps }]) => `${name} ${max_train_steps}`).join(", ")} steps`);
  const pictures = join(folder, "pictures");
  await writePictures(pictures, plan.scenes, tenths(making, "pictures", plan.scenes));
  await makeBase(making, plan, pictures);
  for (const [condition, settings] of plan.controlnets) {
    const output = join(folder, "models/controlnets", condition);
    if (!isTrained(output, "unet")) {
      const hints = join(folder, "hints", condition);
      await writeHints(hints, pictures, condition, plan.scenes, tenths(making, condition, plan.scenes));
      writeControlnetConfig(output);
      await teach(making, "controlnet", condition, hints, output, settings);
    }
  }
}

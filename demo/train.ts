/**
 * npm run demo:train: the demo checkpoint from nothing, in DEMO_TRAIN_DIR; stopped or killed, the same command goes on.
 * DEMO_TRAIN_DIR/models is a MODELS_DIR as soon as the base is trained; DEMO_TRAIN_DIR/train.log says what was done when.
 */
import { appendFileSync, existsSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { TrainingSettings } from "../src/schema.ts";
import { STEM } from "../workers/training/components.ts";
import { type SubjectName, train } from "../workers/training/run.ts";
import { LATENTS, writeConfigs, writeControlnetConfig } from "./configs.ts";
import { writeHints, writePictures } from "./dataset.ts";
import { evenLatents } from "./latents.ts";
import { BASE, CONTROLNETS, DEMO_TRAIN_DIR, SCENES, VAE } from "./plan.ts";
import { writeVocabulary } from "./vocabulary.ts";
import { render } from "./world/render.ts";
import { scene } from "./world/scene.ts";

const models = join(DEMO_TRAIN_DIR, "models");
const base = join(models, "demo");
const pictures = join(DEMO_TRAIN_DIR, "pictures");
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
process.once("SIGTERM", () => stop.abort());

function log(text: string): void {
  const line = `${new Date().toISOString()} ${text}\n`;
  process.stdout.write(line);
  appendFileSync(join(DEMO_TRAIN_DIR, "train.log"), line);
}

/** Tells how far something is, in tenths; ends it when the program is to stop. */
const tenths = (what: string, total: number) => (done: number) => {
  stop.signal.throwIfAborted();
  if (done > 0 && done % Math.ceil(total / 10) === 0) {
    log(`${what}: ${done}/${total}`);
  }
};

/** Pictures that the directions of the latents are found by. */
const EVENED_BY = 300;

/** Steps between two lines of the log. */
const TOLD = 100;

const isTrained = (component: string, stem: keyof typeof STEM) =>
  existsSync(join(component, `${STEM[stem]}.safetensors`));

/** Trains one network. @returns whether it is trained to its end */
async function teach(subject: SubjectName, name: string, dataset: string, output: string, settings: TrainingSettings) {
  const total = settings.max_train_steps;
  log(`${name}: ${total} steps of ${settings.train_batch_size} pictures`);
  // All see the same pictures: what the VAE and the text encoder make of them is computed once.
  const work = join(DEMO_TRAIN_DIR, "work", name);
  mkdirSync(join(DEMO_TRAIN_DIR, "cache"), { recursive: true });
  mkdirSync(work, { recursive: true });
  if (!existsSync(join(work, "cache"))) {
    symlinkSync("../../cache", join(work, "cache"));
  }
  let [losses, count, since] = [0, 0, performance.now()];
  const finished = await train(subject, { base, dataset, validation: null, output, work }, settings, {
    onPreparing: (what, done, all) => tenths(`${name}: ${what}`, all)(done),
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
    signal: stop.signal,
  });
  log(finished ? `${name}: trained` : `${name}: stopped; the same command goes on`);
  return finished;
}

/** @returns whether all of it is trained */
async function main(): Promise<boolean> {
  mkdirSync(DEMO_TRAIN_DIR, { recursive: true });
  const steps = [["vae", VAE] as const, ["base", BASE] as const, ...CONTROLNETS];
  log(`plan: ${steps.map(([name, { max_train_steps }]) => `${name} ${max_train_steps}`).join(", ")} steps`);
  await writePictures(pictures, SCENES, tenths("pictures", SCENES));
  if (!existsSync(join(base, "model_index.json"))) {
    const captions = Array.from({ length: SCENES }, (_, seed) => scene(seed).caption);
    writeConfigs(base, writeVocabulary(join(base, "tokenizer"), captions));
  }
  if (!isTrained(join(base, "vae"), "vae") && !(await teach("vae", "vae", pictures, base, VAE))) {
    return false;
  }
  const some = () => Promise.all(Array.from({ length: EVENED_BY }, (_, seed) => render(scene(seed))));
  await evenLatents(base, some, LATENTS);
  // Of the base's two components the text encoder is written last.
  if (!isTrained(join(base, "text_encoder"), "text_encoder") && !(await teach("base", "base", pictures, base, BASE))) {
    return false;
  }
  for (const [condition, settings] of CONTROLNETS) {
    const output = join(models, "controlnets", condition);
    if (isTrained(output, "unet")) {
      continue;
    }
    const dataset = join(DEMO_TRAIN_DIR, "hints", condition);
    await writeHints(dataset, pictures, condition, SCENES, tenths(condition, SCENES));
    writeControlnetConfig(output);
    if (!(await teach("controlnet", condition, dataset, output, settings))) {
      return false;
    }
  }
  return true;
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  if (!stop.signal.aborted) {
    throw error;
  }
  log("stopped; the same command goes on");
  process.exitCode = 1;
}

/** Scenes as datasets of the trainer: a folder with metadata.jsonl. */
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodeImage } from "../src/image/encode.ts";
import { Dice } from "./world/dice.ts";
import { type Condition, conditions } from "./world/maps.ts";
import { render } from "./world/render.ts";
import { scene } from "./world/scene.ts";

/** Seeds below this are trained on; those of benches and examples lie above. */
export const FIRST_UNSEEN_SEED = 1_000_000;

const [FULL_CAPTIONS, KEPT_WORDS] = [0.7, 0.7];

/** Most of the captions whole, the others with some things unsaid: people do not describe everything. */
export function spoken(caption: string, seed: number): string {
  const dice = new Dice(FIRST_UNSEEN_SEED + seed);
  if (dice.chance(FULL_CAPTIONS)) {
    return caption;
  }
  const words = caption.split(", ");
  const kept = words.filter(() => dice.chance(KEPT_WORDS));
  return (kept.length > 0 ? kept : [dice.pick(words)]).join(", ");
}

/** Makes a folder whole or not at all. */
async function whole(folder: string, fill: (made: string) => Promise<void>): Promise<void> {
  if (existsSync(folder)) {
    return;
  }
  const made = `${folder}.part`;
  rmSync(made, { recursive: true, force: true });
  mkdirSync(made, { recursive: true });
  await fill(made);
  renameSync(made, folder);
}

/** Pictures of the scenes 0 … count - 1 and their captions. */
export const writePictures = (folder: string, count: number, onPicture: (done: number) => void) =>
  whole(folder, async (made) => {
    const lines: string[] = [];
    mkdirSync(join(made, "images"));
    for (let seed = 0; seed < count; seed++) {
      const one = scene(seed);
      const name = `images/${seed}.png`;
      writeFileSync(join(made, name), await encodeImage(await render(one), "png"));
      lines.push(JSON.stringify({ file_name: name, text: spoken(one.caption, seed) }));
      onPicture(seed + 1);
    }
    writeFileSync(join(made, "metadata.jsonl"), `${lines.join("\n")}\n`);
  });

/** The control maps of one condition for the pictures in `pictures`, which the folder links to. */
export const writeHints = (
  folder: string,
  pictures: string,
  condition: Condition,
  count: number,
  onPicture: (done: number) => void,
) =>
  whole(folder, async (made) => {
    const lines: string[] = [];
    mkdirSync(join(made, "hints"));
    symlinkSync(join(pictures, "images"), join(made, "images"));
    for (let seed = 0; seed < count; seed++) {
      const one = scene(seed);
      const hint = `hints/${seed}.png`;
      writeFileSync(join(made, hint), await encodeImage(await conditions[condition](one), "png"));
      const text = spoken(one.caption, seed);
      lines.push(JSON.stringify({ file_name: `images/${seed}.png`, conditioning_image: hint, text }));
      onPicture(seed + 1);
    }
    writeFileSync(join(made, "metadata.jsonl"), `${lines.join("\n")}\n`);
  });

/** The task of the original ControlNet's tutorial, drawn small: fill a circle whose outline is given, in colours that are said. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NoiseGenerator } from "../../src/diffusion/noise.ts";
import { encodeImage } from "../../src/image/encode.ts";
import type { Pixels } from "../../src/image/pixels.ts";

const COLOURS = {
  red: [220, 40, 40],
  green: [40, 160, 60],
  blue: [40, 70, 210],
  yellow: [240, 210, 50],
  orange: [245, 140, 30],
  purple: [130, 50, 170],
  white: [245, 245, 245],
  black: [20, 20, 20],
} as const;
type Colour = keyof typeof COLOURS;

/** A `side` × `side` picture whose pixels depend on how far they are from the circle's middle. */
function draw(side: number, x: number, y: number, colourAt: (distance: number) => readonly number[]): Pixels {
  const data = new Uint8Array(3 * side * side);
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      data.set(colourAt(Math.hypot(column + 0.5 - x, row + 0.5 - y)), 3 * (row * side + column));
    }
  }
  return { width: side, height: side, data };
}

/** One pair by its number: the circle's outline, white on black, and the filled circle. */
export function circle(index: number, side: number): { hint: Pixels; image: Pixels; prompt: string } {
  const [a, b, u, v, r] = new NoiseGenerator(index).uniform(16) as unknown as [number, number, number, number, number];
  const names = Object.keys(COLOURS) as Colour[];
  const fill = names[Math.floor(a * names.length)]!;
  const others = names.filter((name) => name !== fill);
  const ground = others[Math.floor(b * others.length)]!;
  const radius = side * (0.15 + 0.2 * r);
  const [x, y] = [u, v].map((share) => radius + share * (side - 2 * radius)) as [number, number];
  return {
    hint: draw(side, x, y, (distance) => (Math.abs(distance - radius) < 1 ? [255, 255, 255] : [0, 0, 0])),
    image: draw(side, x, y, (distance) => COLOURS[distance < radius ? fill : ground]),
    prompt: `${fill} circle with ${ground} background`,
  };
}

/** Writes `count` pairs, from number `first`, as the original repository's datasets are laid out: prompt.json, source/, target/. */
export async function writeCircles(folder: string, count: number, side: number, first = 0): Promise<void> {
  const lines: string[] = [];
  for (const part of ["source", "target"]) {
    mkdirSync(join(folder, part), { recursive: true });
  }
  for (let i = first; i < first + count; i++) {
    const { hint, image, prompt } = circle(i, side);
    writeFileSync(join(folder, "source", `${i}.png`), await encodeImage(hint, "png"));
    writeFileSync(join(folder, "target", `${i}.png`), await encodeImage(image, "png"));
    lines.push(JSON.stringify({ source: `source/${i}.png`, target: `target/${i}.png`, prompt }));
  }
  writeFileSync(join(folder, "prompt.json"), `${lines.join("\n")}\n`);
}

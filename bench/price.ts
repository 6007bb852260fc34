/**
 * npm run bench price: what the quick ways to a picture cost in fidelity. On the demo's unseen scenes, each beside exact: how well
 * the pictures follow edges and areas, how alike they are to the exact ones (SSIM), and the time that denoising takes.
 */
import { FIRST_UNSEEN_SEED } from "../demo/dataset.ts";
import { MEASURES } from "../demo/follows.ts";
import { mean } from "../demo/measures.ts";
import { type Demo, openDemo } from "../demo/models.ts";
import { conditions } from "../demo/world/maps.ts";
import { type Scene, scene } from "../demo/world/scene.ts";
import { DEMO_MODELS_DIR } from "../src/config/config.ts";
import type { Pixels } from "../src/image/pixels.ts";
import type { Speed } from "../src/schema/speed.ts";
import { CPU_INT8 } from "../workers/runtime/runtime.ts";

const SCENES = 64;

const deepcache = (interval: number, branch: number): Partial<Speed> => ({
  cache: { method: "deepcache", interval, branch },
});

/** How a picture is asked for; `int8` on a worker of that precision. */
interface Way extends Partial<Speed> {
  readonly int8?: true;
}

const WAYS: Readonly<Record<string, Way>> = {
  exact: {},
  int8: { int8: true },
  "int8 and cache, interval 3": { int8: true, ...deepcache(3, 0) },
  "cache, interval 2, branch 0": deepcache(2, 0),
  "cache, interval 3, branch 0": deepcache(3, 0),
  "cache, interval 3, branch 3": deepcache(3, 3),
  "cache, interval 5, branch 0": deepcache(5, 0),
  "control_interval 2": { control_interval: 2 },
  "control_interval 3": { control_interval: 3 },
  "cache, interval 3, and control_interval 2": { ...deepcache(3, 0), control_interval: 2 },
};

const BLOCK = 8;
const [C1, C2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];

/** Mean SSIM of two pictures' green over blocks of 8×8 pixels (Wang et al. 2004, without its Gaussian window). */
export function ssim(a: Pixels, b: Pixels): number {
  const values: number[] = [];
  for (let top = 0; top + BLOCK <= a.height; top += BLOCK) {
    for (let left = 0; left + BLOCK <= a.width; left += BLOCK) {
      const green = ({ data, width }: Pixels) =>
        Array.from({ length: BLOCK ** 2 }, (_, i) => {
          const [y, x] = [top + Math.floor(i / BLOCK), left + (i % BLOCK)];
          return data[3 * (y * width + x) + 1]!;
        });
      const [p, q] = [green(a), green(b)];
      const [meanP, meanQ] = [mean(p), mean(q)];
      const [varP, varQ] = [mean(p.map((v) => (v - meanP) ** 2)), mean(q.map((v) => (v - meanQ) ** 2))];
      const both = mean(p.map((v, i) => (v - meanP) * (q[i]! - meanQ)));
      const luminance = (2 * meanP * meanQ + C1) / (meanP ** 2 + meanQ ** 2 + C1);
      values.push(luminance * ((2 * both + C2) / (varP + varQ + C2)));
    }
  }
  return mean(values);
}

interface Drawn {
  readonly pictures: readonly Pixels[];
  readonly seconds: number;
}

async function draw(
  demo: Demo,
  scenes: readonly Scene[],
  maps: readonly Pixels[],
  condition: "canny" | "segmentation",
  speed: Partial<Speed>,
): Promise<Drawn> {
  const pictures: Pixels[] = [];
  const started = performance.now();
  for (const [i, { caption, seed }] of scenes.entries()) {
    pictures.push(await demo.draw({ prompt: caption, seed, controls: [{ condition, map: maps[i]! }], ...speed }));
  }
  return { pictures, seconds: (performance.now() - started) / 1000 / scenes.length };
}

export async function run(): Promise<void> {
  const models = process.env.MODELS_DIR ?? DEMO_MODELS_DIR;
  const [demo, demo8] = [openDemo(models), openDemo(models, CPU_INT8)];
  const scenes = Array.from({ length: SCENES }, (_, i) => scene(FIRST_UNSEEN_SEED + i));
  for (const condition of ["canny", "segmentation"] as const) {
    const { name } = MEASURES[condition];
    console.log(`\n| ${condition} | ${name} | of exact | SSIM to exact | seconds a picture | of exact |`);
    console.log("|---|---|---|---|---|---|");
    const maps = await Promise.all(scenes.map(conditions[condition]));
    await draw(demo, scenes.slice(0, 1), maps, condition, {}); // loads the networks
    let exact: (Drawn & { figure: number }) | null = null;
    for (const [way, { int8, ...speed }] of Object.entries(WAYS)) {
      const own = int8 ? demo8 : demo;
      await draw(own, scenes.slice(0, 1), maps, condition, speed);
      const drawn = await draw(own, scenes, maps, condition, speed);
      const figure = (await MEASURES[condition].read(drawn.pictures, maps, scenes))();
      exact ??= { ...drawn, figure };
      const alike = mean(drawn.pictures.map((picture, i) => ssim(picture, exact!.pictures[i]!)));
      const cells = [figure, figure / exact.figure, alike, drawn.seconds, drawn.seconds / exact.seconds];
      console.log(`| ${way} | ${cells.map((cell) => cell.toFixed(3)).join(" | ")} |`);
    }
  }
  await demo.close();
  await demo8.close();
}

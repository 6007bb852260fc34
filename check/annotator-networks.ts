import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type LoadedFolder, lines, loadFolder, networkMaps } from "../src/annotators/annotate.ts";
import { wholeBodyPoints } from "../src/annotators/dwpose.ts";
import { openAnnotatorFolder } from "../src/annotators/folder.ts";
import { type FoundPoint, LEAST_SCORE } from "../src/annotators/key-points.ts";
import { bodyPoints } from "../src/annotators/vitpose.ts";
import { decodeImage } from "../src/image/decode.ts";
import { resizeImage, resizeLinear } from "../src/image/opencv-resize.ts";
import type { Pixels } from "../src/image/pixels.ts";
import type { Tensor } from "../src/onnx/tensor.ts";
import { chooseProvider } from "../workers/runtime/provider.ts";
import { openSession, type Session } from "../workers/runtime/runtime.ts";
import type { Finding } from "./finding.ts";
import { relative } from "./modules.ts";
import { readTensors } from "./tensors.ts";

/** A case of neural.json. */
interface Case {
  annotator: string;
  folder: string;
  picture: string;
  params: Record<string, unknown> & { detect_resolution?: number };
  map?: string;
  tolerance?: { levels?: number; share: number };
  width?: number;
  height?: number;
  lines?: number[][];
  boxes_xywh?: number[][];
  /** [person][point] of x, y, and in keypoints_134 the score. */
  keypoints?: number[][][];
  scores?: number[][];
  keypoints_134?: number[][][];
  /** Name of what the network gives before it becomes a map: every 16th row and column. */
  tensor?: string;
}

const DEFAULTS = { resample: "bicubic", safe: false, scribble: false, apply_filter: false, safe_steps: 2 };
const LIMITS = { maxPixels: 2 ** 26 };
/** Key points may lie so far off, in pixels, and lines' ends. */
const [NEAR, NEAR_LINE] = [0.5, 0.01];
/** What random networks leave to chance: places whose values differ by less than float32's last bits are not compared. */
const TIE = 1e-6;

const { provider } = await chooseProvider(process.env.EXECUTION_PROVIDER ?? "cpu");

/** Every case of `<dir>/neural.json` whose map is a network's own. An error is the share of values that are off by more than allowed. */
export async function check(dir: string): Promise<Finding[]> {
  const { cases } = JSON.parse(readFileSync(join(dir, "neural.json"), "utf8")) as { cases: Case[] };
  const findings: Finding[] = [];
  for (const one of cases) {
    const picture = await decodeImage(readFileSync(join(dir, `pictures/${one.picture}.png`)), LIMITS);
    const resolution = one.params.detect_resolution;
    const shown = resolution === undefined ? picture : resizeImage(picture, resolution);
    const { folder, seen, release } = await load(join(dir, "neural", one.folder));
    const subject = `${one.folder} ${one.picture} ${JSON.stringify(one.params)}`;
    findings.push({ subject, ...(await compare(dir, one, shown, folder, seen)) });
    if (one.map !== undefined && (one.lines ?? one.keypoints_134) !== undefined) {
      findings.push({ subject: `${subject} drawn`, ...(await drawn(dir, one, shown, folder)) });
    }
    if (one.tensor !== undefined) {
      const wanted = readTensors(join(dir, "neural/tensors.safetensors")).get(one.tensor)!;
      findings.push({
        subject: `${subject} before the map`,
        error: relative(everySixteenth(seen[0]![0]!), wanted),
        bound: 1e-3,
      });
    }
    await release();
  }
  return findings;
}

/** Every 16th row and column of [1, h, w]. */
function everySixteenth({ dims, data }: Tensor): Tensor {
  const [height, width] = dims.slice(-2) as [number, number];
  const rows = Array.from({ length: Math.ceil(height / 16) }, (_, y) =>
    (data as Float32Array).subarray(16 * y * width, (16 * y + 1) * width).filter((_, x) => x % 16 === 0),
  );
  return { dims: [rows.length, rows[0]!.length], data: Float32Array.from(rows.flatMap((row) => [...row])) };
}

/** A folder's networks, with the outputs that they have given in `seen`. */
async function load(dir: string) {
  const opened = openAnnotatorFolder(dir);
  const sessions = new Map<string, Session>();
  const seen: Tensor[][] = [];
  for (const [part, net] of Object.entries(opened.networks)) {
    sessions.set(part, await openSession(net.graph(), provider));
  }
  const folder = loadFolder(opened, (part) => async (feeds) => {
    const outputs = await sessions.get(part)!.run(feeds);
    seen.push(Object.values(outputs));
    return outputs;
  });
  return { folder, seen, release: () => Promise.all([...sessions.values()].map((session) => session.release())) };
}

async function compare(dir: string, one: Case, shown: Pixels, folder: LoadedFolder, seen: Tensor[][]) {
  const params = { ...DEFAULTS, ...one.params } as never;
  if (one.lines !== undefined) {
    const found = await lines(shown, folder, params);
    const away = (line: readonly number[]) =>
      Math.min(...one.lines!.map((own) => Math.max(...own.map((value, i) => Math.abs(value - line[i]!)))));
    const lost = found.filter((line) => away(line) > NEAR_LINE).length + Math.abs(found.length - one.lines.length);
    return { error: lost / Math.max(found.length, 1), bound: 0.02 };
  }
  if (one.keypoints_134 !== undefined) {
    const found = await wholeBodyPoints(shown, { detector: folder.nets.detector!, pose: folder.nets.pose! });
    const ties = seen.slice(1).map((outputs) => tied(outputs));
    return points(found, one.keypoints_134, (person, k) => ties[person]!.has(k));
  }
  if (one.keypoints !== undefined) {
    const found: FoundPoint[][] = [];
    for (const [x, y, w, h] of one.boxes_xywh as [number, number, number, number][]) {
      const net = { ...folder.nets.model!, processor: folder.processor! };
      found.push(await bodyPoints(shown, [x, y, x + w, y + h], net));
    }
    const expected = one.keypoints.map((person, i) => person.map((point, k) => [...point, one.scores![i]![k]!]));
    return points(found, expected, () => false);
  }
  return drawn(dir, one, shown, folder);
}

/** The share of a map's values that are off. */
async function drawn(dir: string, one: Case, shown: Pixels, folder: LoadedFolder) {
  const params = { ...DEFAULTS, ...one.params } as never;
  const name = one.params.scribble === true ? one.annotator.replace("softedge", "scribble") : one.annotator;
  const { map } = await networkMaps[name as keyof typeof networkMaps](shown, folder, params);
  const wanted = await decodeImage(readFileSync(join(dir, one.map!)), LIMITS);
  return differing(resizeLinear(map, wanted.width, wanted.height), wanted, one.tolerance!);
}

function differing(map: Pixels, wanted: Pixels, { levels = 0, share }: { levels?: number; share: number }) {
  const off = wanted.data.reduce((count, value, i) => count + (Math.abs(value - map.data[i]!) > levels ? 1 : 0), 0);
  return { error: off / wanted.data.length, bound: 1 - share };
}

/** The share of key points that are seen and lie elsewhere. */
function points(found: FoundPoint[][], wanted: number[][][], skipped: (person: number, k: number) => boolean) {
  let [seen, off] = [0, 0];
  for (const [i, person] of wanted.entries()) {
    for (const [k, [x, y, score]] of person.entries()) {
      if (score! < LEAST_SCORE || skipped(i, k)) continue;
      const own = found[i]?.[k];
      seen += 1;
      off += own !== undefined && Math.hypot(own.x - x!, own.y - y!) <= NEAR ? 0 : 1;
    }
  }
  return { error: off / Math.max(seen, 1) + (found.length === wanted.length ? 0 : 1), bound: 0.001 };
}

/** COCO-WholeBody's numbers, as 134 counts them, of the points with two places of the same value. */
function tied(outputs: readonly Tensor[]): Set<number> {
  const coco = new Set<number>();
  for (const { dims, data } of outputs) {
    const [, count, places] = dims as [number, number, number];
    for (let k = 0; k < count; k++) {
      const row = (data as Float32Array).subarray(k * places, (k + 1) * places);
      const best = row.indexOf(Math.max(...row));
      if (row.some((value, i) => i !== best && row[best]! - value < TIE)) coco.add(k);
    }
  }
  const BODY = [0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3];
  const inOrder = [...BODY, ...Array.from({ length: 116 }, (_, i) => 17 + i)];
  const isTied = (k: number) => (k === -1 ? coco.has(5) || coco.has(6) : coco.has(k));
  return new Set(inOrder.flatMap((k, i) => (isTied(k) ? [i] : [])));
}

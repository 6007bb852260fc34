import { resizeLinear } from "../image/opencv-resize.ts";
import type { Pixels } from "../image/pixels.ts";
import { feedOf, infer, type Net, NetworkError } from "./network.ts";

/** In pixels of the picture. */
export type Box = readonly [x1: number, y1: number, x2: number, y2: number];

const [SCORE, OVERLAP, PERSON_SCORE, PERSON] = [0.1, 0.45, 0.3, 0];
const GREY = 114;
const STRIDES = [8, 16, 32];

interface Candidate {
  readonly box: Box;
  readonly score: number;
}

/**
 * The people in a picture by YOLOX (arXiv 2107.08430; Mikubill/sd-webui-controlnet `cv_ox_det.py`), the likeliest first: null when
 * nothing at all was found, none when there are things but no people. The network takes [1, 3, S, S] of 0 … 255 and gives
 * [1, cells, 85]: centre, size, whether anything is there, and of which class.
 */
export async function personBoxes(pixels: Pixels, net: Net): Promise<Box[] | null> {
  const side = net.inputs[0]!.shape[2];
  if (typeof side !== "number") throw new NetworkError("a detector's input has a fixed size");
  const scale = Math.min(side / pixels.height, side / pixels.width);
  const [width, height] = [Math.trunc(pixels.width * scale), Math.trunc(pixels.height * scale)];
  const small = resizeLinear(pixels, Math.max(width, 1), Math.max(height, 1));
  const [output] = await infer(
    net,
    feedOf(inCorner(small, side), (byte) => byte),
  );
  const { dims, data } = output!;
  const fields = dims[2] ?? 0;
  const cells = STRIDES.reduce((sum, stride) => sum + (side / stride) ** 2, 0);
  if (dims.length !== 3 || dims[1] !== cells || fields <= 5) {
    throw new NetworkError(`a detector of ${side}×${side} gives [1, ${cells}, 85], not [${dims}]`);
  }
  const values = data as Float32Array;
  const boxes = cellBoxes(values, side, fields, scale);
  let anything = false;
  let people: Candidate[] = [];
  for (let c = 0; c < fields - 5; c++) {
    const score = (i: number) => Math.fround(values[i * fields + 4]! * values[i * fields + 5 + c]!);
    const candidates = boxes.flatMap((box, i) => (score(i) > SCORE ? [{ box, score: score(i) }] : []));
    anything ||= candidates.length > 0;
    if (c === PERSON) people = candidates;
  }
  return anything ? apart(people).flatMap(({ box, score }) => (score > PERSON_SCORE ? [box] : [])) : null;
}

/** The picture in the upper left corner of a grey square. */
function inCorner({ width, height, data }: Pixels, side: number): Pixels {
  const square = new Uint8Array(3 * side * side).fill(GREY);
  for (let y = 0; y < height; y++) square.set(data.subarray(3 * y * width, 3 * (y + 1) * width), 3 * y * side);
  return { width: side, height: side, data: square };
}

/** Each cell's box; every step is rounded to float32, as there: what is cut out around a box depends on its last bits. */
function cellBoxes(values: Float32Array, side: number, fields: number, scale: number): Box[] {
  const boxes: Box[] = [];
  const f = Math.fround;
  for (const stride of STRIDES) {
    const across = side / stride;
    for (let cell = 0; cell < across * across; cell++) {
      const at = boxes.length * fields;
      const x = f((values[at]! + (cell % across)) * stride);
      const y = f((values[at + 1]! + Math.floor(cell / across)) * stride);
      const halfWidth = f(f(Math.exp(values[at + 2]!)) * stride) / 2;
      const halfHeight = f(f(Math.exp(values[at + 3]!)) * stride) / 2;
      const edges = [x - halfWidth, y - halfHeight, x + halfWidth, y + halfHeight];
      boxes.push(edges.map((edge) => f(f(edge) / f(scale))) as unknown as Box);
    }
  }
  return boxes;
}

/** The candidates without those that overlap a likelier one. As there, a box's last pixel counts as its own. */
function apart(candidates: readonly Candidate[]): Candidate[] {
  const area = ([x1, y1, x2, y2]: Box) => (x2 - x1 + 1) * (y2 - y1 + 1);
  const overlap = (a: Box, b: Box) => {
    const across = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]) + 1, 0);
    const down = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]) + 1, 0);
    return (across * down) / (area(a) + area(b) - across * down);
  };
  const kept: Candidate[] = [];
  for (const candidate of candidates.toSorted((a, b) => b.score - a.score)) {
    if (kept.every(({ box }) => overlap(box, candidate.box) <= OVERLAP)) kept.push(candidate);
  }
  return kept;
}

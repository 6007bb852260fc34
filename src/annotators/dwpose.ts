import type { Pixels } from "../image/pixels.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { type FoundPerson, type FoundPoint, wholePerson, withNeck } from "./key-points.ts";
import { feedOf, infer, type Net, NetworkError } from "./network.ts";
import { type Box, personBoxes } from "./person-boxes.ts";
import { type Crop, warp } from "./warp.ts";

const [WIDTH, HEIGHT, POINTS] = [288, 384, 133];
const [MEAN, STD] = [
  [123.675, 116.28, 103.53],
  [58.395, 57.12, 57.375],
];
/** How much more than the box the network is shown. */
const MARGIN = 1.25;
/** Places a pixel of the crop is divided into along each axis. */
const SPLIT = 2;

/** The two networks of DWPose (Yang et al., arXiv 2307.15880): `yolox_l.onnx` and `dw-ll_ucoco_384.onnx`. */
export interface DwPoseNets {
  readonly detector: Net;
  readonly pose: Net;
}

/** What is cut out around a box, in pixels of the picture: its centre and a size of the crop's proportions. */
function frame([x1, y1, x2, y2]: Box) {
  const f = Math.fround;
  const [width, height] = [f(f(x2 - x1) * MARGIN), f(f(y2 - y1) * MARGIN)];
  const [x, y, aspect] = [f(f(x1 + x2) / 2), f(f(y1 + y2) / 2), WIDTH / HEIGHT];
  return width > f(height * aspect)
    ? { x, y, width, height: f(width / aspect) }
    : { x, y, width: f(height * aspect), height };
}

/** The crop as `getAffineTransform` finds it from three points in float32: the centre, half a width above it, and left of that. */
function cropOf({ x, y, width }: ReturnType<typeof frame>): Crop {
  const above = Math.fround(y - width / 2);
  const left = Math.fround(x - Math.fround(y - above));
  const [scaleX, scaleY] = [(x - left) / (WIDTH / 2), (y - above) / (WIDTH / 2)];
  const offsets = { offsetX: x - (WIDTH / 2) * scaleX, offsetY: y - (HEIGHT / 2) * scaleY };
  return { width: WIDTH, height: HEIGHT, scaleX, scaleY, ...offsets };
}

/** 134 points of each person, the likeliest first (Mikubill/sd-webui-controlnet `cv_ox_pose.py` and `wholebody.py`). */
export async function wholeBodyPoints(pixels: Pixels, nets: DwPoseNets): Promise<FoundPoint[][]> {
  const found = await personBoxes(pixels, nets.detector);
  if (found === null) return [];
  const boxes: readonly Box[] = found.length > 0 ? found : [[0, 0, pixels.width, pixels.height]];
  const people: FoundPoint[][] = [];
  for (const box of boxes) people.push(withNeck(await pointsIn(pixels, box, nets.pose))); // one at a time bounds the memory
  return people;
}

/** The people of a picture, with hands and faces. */
export async function wholeBodies(pixels: Pixels, nets: DwPoseNets): Promise<FoundPerson[]> {
  return (await wholeBodyPoints(pixels, nets)).map(wholePerson);
}

async function pointsIn(pixels: Pixels, box: Box, net: Net): Promise<FoundPoint[]> {
  const { x, y, width, height } = frame(box);
  const seen = warp(pixels, cropOf({ x, y, width, height }), "opencv");
  const [along, down] = await infer(
    net,
    feedOf(seen, (byte, c) => (byte - MEAN![c]!) / STD![c]!),
  );
  return Array.from({ length: POINTS }, (_, k) => {
    const [px, scoreX] = peak(along!, k, SPLIT * WIDTH);
    const [py, scoreY] = peak(down!, k, SPLIT * HEIGHT);
    const score = Math.min(scoreX, scoreY);
    const [u, v] = score > 0 ? [px / SPLIT, py / SPLIT] : [-1, -1];
    return { x: (u / WIDTH) * width + x - width / 2, y: (v / HEIGHT) * height + y - height / 2, score };
  });
}

/** Where row `k` of [1, 133, places] is greatest, and its value there. */
function peak({ dims, data }: Tensor, k: number, places: number): [place: number, value: number] {
  if (dims[1] !== POINTS || dims[2] !== places) {
    throw new NetworkError(`an output of [1, ${POINTS}, ${places}] is expected, not [${dims}]`);
  }
  const row = (data as Float32Array).subarray(k * places, (k + 1) * places);
  let best = 0;
  for (let i = 1; i < places; i++) if (row[i]! > row[best]!) best = i;
  return [best, row[best]!];
}

import assert from "node:assert/strict";
import { test } from "node:test";
import { COLOURS, type Colour, lit, type Rgb } from "../../demo/world/colours.ts";
import { SIDE } from "../../demo/world/landscape.ts";
import { CONDITIONS, conditions, PALETTE, visibleParts } from "../../demo/world/maps.ts";
import type { Outline } from "../../demo/world/part.ts";
import { POSE_COLOURS } from "../../demo/world/pose.ts";
import { render } from "../../demo/world/render.ts";
import { type Scene, scene } from "../../demo/world/scene.ts";
import { KEYPOINTS } from "../../demo/world/skeleton.ts";
import type { Pixels } from "../../src/image/pixels.ts";

const SEEDS = Array.from({ length: 36 }, (_, i) => 2_000_000 + i);
const scenes = SEEDS.map(scene);

const pixel = ({ data }: Pixels, p: number): Rgb => [data[3 * p]!, data[3 * p + 1]!, data[3 * p + 2]!];
const distance = (a: Rgb, b: Rgb) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
const isWhite = (map: Pixels, x: number, y: number) => map.data[3 * (y * SIDE + x)]! > 127;

/** Pixels of a map of white lines. */
function lines(map: Pixels): [number, number][] {
  const all = Array.from({ length: SIDE * SIDE }, (_, p): [number, number] => [p % SIDE, Math.floor(p / SIDE)]);
  return all.filter(([x, y]) => isWhite(map, x, y));
}

/** The share of `from`'s lines that have one of `to`'s within `reach` pixels. */
function near(from: Pixels, to: Pixels, reach: number): number {
  const points = lines(from);
  const found = points.filter(([x, y]) => {
    for (let v = Math.max(0, y - reach); v <= Math.min(SIDE - 1, y + reach); v++) {
      for (let u = Math.max(0, x - reach); u <= Math.min(SIDE - 1, x + reach); u++) {
        if (isWhite(to, u, v)) {
          return true;
        }
      }
    }
    return false;
  });
  return points.length === 0 ? 1 : found.length / points.length;
}

test("a seed gives the same caption, picture and maps each time, another seed others", async () => {
  const [one, again, other] = [scene(7), scene(7), scene(8)];
  assert.equal(one.caption, again.caption);
  assert.notEqual(one.caption, other.caption);
  assert.deepEqual(await render(one), await render(again));
  assert.notDeepEqual(await render(one), await render(other));
  for (const condition of CONDITIONS) {
    assert.deepEqual(await conditions[condition](one), await conditions[condition](again), condition);
  }
});

test("hours, grounds and things come about as often as each other", () => {
  const captions = Array.from({ length: 600 }, (_, seed) => scene(seed).caption);
  for (const words of ["by day", "at sunset", "at night", "on grass", "on snow", "on sand"]) {
    const count = captions.filter((caption) => caption.includes(words)).length;
    assert.ok(count > 150 && count < 250, `${words}: ${count} of 600`);
  }
  for (const word of ["house", "pine", "round tree", "person", "car", "mountains", "lake", "sun", "moon", "clouds"]) {
    const count = captions.filter((caption) => caption.includes(word)).length;
    assert.ok(count > 60, `${word}: ${count} of 600`);
  }
});

/** Which parts a scene shows, and of how many pixels each. */
async function shown({ parts }: Scene): Promise<Map<number, number[]>> {
  const places = new Map<number, number[]>();
  (await visibleParts(parts)).forEach((part, p) => {
    const own = places.get(part) ?? [];
    own.push(p);
    places.set(part, own);
  });
  return places;
}

test("where the caption names a colour, the picture has it, as it is in the hour's light", async () => {
  let named = 0;
  for (const one of scenes) {
    const picture = await render(one);
    const places = await shown(one);
    one.parts.forEach(({ said, class: kind }, i) => {
      if (said === undefined) {
        return;
      }
      named += 1;
      assert.match(one.caption, new RegExp(`\\b${said}\\b`), `${one.seed}: a ${said} ${kind}`);
      const own = places.get(i) ?? [];
      assert.ok(own.length > 20, `${one.seed}: ${own.length} pixels of the ${said} ${kind} are seen`);
      // Of most of its pixels, the named colour is the nearest.
      const right = own.filter((p) => {
        const distances = (Object.keys(COLOURS) as Colour[]).map(
          (colour) => [distance(pixel(picture, p), lit(COLOURS[colour], one.hour)), colour] as const,
        );
        return distances.sort(([a], [b]) => a - b)[0]![1] === said;
      });
      assert.ok(
        right.length > 0.7 * own.length,
        `${one.seed}: the ${kind} is ${said} in ${right.length} of ${own.length}`,
      );
    });
  }
  assert.ok(named > 30, `${named} colours were looked at`);
});

test("what the caption names is seen, and what is seen is named", async () => {
  const words = {
    tree: /pine|tree/,
    car: /car\b/,
    person: /person/,
    wall: /house/,
    water: /lake/,
    mountain: /mountains/,
    light: /the (sun|moon)/,
  };
  for (const one of scenes) {
    const classes = new Set([...(await shown(one)).keys()].map((i) => one.parts[i]!.class));
    for (const [kind, word] of Object.entries(words)) {
      // A sun's or a mountain's last corner may be left of it.
      if (word.test(one.caption)) {
        assert.ok(classes.has(kind as keyof typeof words), `${one.seed}: "${one.caption}" shows no ${kind}`);
      } else if (!["water", "mountain"].includes(kind)) {
        assert.ok(!classes.has(kind as keyof typeof words), `${one.seed}: "${one.caption}" shows a ${kind}`);
      }
    }
  }
});

/** Of a polygon, in pixels. */
const area = (outline: Outline) =>
  Math.abs(outline.reduce((sum, [x, y], i) => sum + outline.at(i - 1)![0] * y - x * outline.at(i - 1)![1], 0)) / 2;

test("nothing that the caption names is hidden behind something else", async () => {
  for (let seed = 2_000_100; seed < 2_000_300; seed++) {
    const one = scene(seed);
    const places = await shown(one);
    one.parts.forEach(({ said, class: kind }, i) => {
      const share = (places.get(i)?.length ?? 0) / area(one.parts[i]!.outline);
      assert.ok(said === undefined || share > 0.3, `${seed}: a share of ${share} of the ${said} ${kind} is seen`);
    });
  }
});

test("the segmentation has the palette's colours alone", async () => {
  const palette = new Set(Object.values(PALETTE).map(String));
  for (const one of scenes.slice(0, 8)) {
    const map = await conditions.segmentation(one);
    for (let p = 0; p < SIDE * SIDE; p++) {
      assert.ok(palette.has(String(pixel(map, p))), `${one.seed}: ${pixel(map, p)}`);
    }
  }
});

test("line drawings, lines and scribbles lie on what the picture shows", async () => {
  for (const one of scenes.slice(0, 8)) {
    const edges = await conditions.lineart(one);
    assert.ok(near(await conditions.canny(one), edges, 2) > 0.85, `${one.seed}: Canny's edges are drawn`);
    assert.ok(near(await conditions.hough_lines(one), edges, 1) > 0.95, `${one.seed}: straight edges are edges`);
    const scribble = await conditions.scribble(one);
    assert.ok(near(scribble, edges, 6) > 0.95, `${one.seed}: the pen stays near the edges`);
    assert.ok(near(edges, scribble, 0) < 0.85, `${one.seed}: and does not follow them exactly`);
    const border = lines(edges).filter(([x, y]) => x === 0 || y === 0 || x === SIDE - 1 || y === SIDE - 1);
    assert.ok(border.length < SIDE / 4, `${one.seed}: ${border.length} pixels of a frame`);
  }
});

test("a pose's keypoints have OpenPose's colours and lie on the person", async () => {
  let people = 0;
  for (const one of scenes) {
    const [pose, parts] = [await conditions.pose(one), await visibleParts(one.parts)];
    for (const [s, skeleton] of one.skeletons.entries()) {
      people += 1;
      KEYPOINTS.forEach((name, i) => {
        const [x, y] = skeleton[name].map(Math.floor) as [number, number];
        const inside = x > 2 && y > 2 && x < SIDE - 3 && y < SIDE - 3;
        const covered = one.skeletons.some(
          (other, o) => o > s && Object.values(other).some(([u, v]) => Math.hypot(u - x, v - y) < 6),
        );
        if (!inside || covered || /eye|ear|nose/.test(name)) {
          return; // eyes, ears and nose overlap
        }
        const part = one.parts[parts[y * SIDE + x]!]!;
        assert.ok(part.class === "person" || part.class === "car", `${one.seed}: ${name} lies on ${part.class}`);
        const own = pixel(pose, y * SIDE + x);
        assert.ok(distance(own, POSE_COLOURS[i]!) < 90, `${one.seed}: ${name} is ${own}`);
      });
    }
  }
  assert.ok(people > 8);
});

test("depth grows toward the viewer and normals have the length 1", async () => {
  for (const one of scenes.slice(0, 8)) {
    const [depth, normal] = [await conditions.depth(one), await conditions.normal(one)];
    const parts = await visibleParts(one.parts);
    for (let p = 0; p < SIDE * SIDE; p++) {
      const [nx, ny, nz] = pixel(normal, p).map((value) => (value - 127.5) / 127.5) as [number, number, number];
      assert.ok(Math.abs(Math.hypot(nx, ny, nz) - 1) < 0.03, `${one.seed}: ${nx}, ${ny}, ${nz}`);
      const below = p + SIDE;
      const isGround = (q: number) => one.parts[parts[q]!]?.class === "ground";
      if (isGround(p) && isGround(below)) {
        assert.ok(pixel(depth, below)[0] >= pixel(depth, p)[0], `${one.seed}: the ground comes nearer`);
        assert.deepEqual(pixel(normal, p), [128, 255, 128], "the ground looks up");
      }
      if (one.parts[parts[p]!]!.class === "sky") {
        assert.equal(pixel(depth, p)[0], 0, "the sky is farthest");
      }
    }
  }
});

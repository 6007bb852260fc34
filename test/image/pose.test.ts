import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { drawPose } from "../../src/image/pose/draw.ts";
import { readPose, writePose } from "../../src/image/pose/json.ts";
import { PoseJson } from "../../src/schema/pose.ts";

const { cases }: { cases: { variant: string; map: string; pose: unknown }[] } = JSON.parse(
  readFileSync(new URL("../fixtures/annotators/pose.json", import.meta.url), "utf8"),
);
const many = PoseJson.parse(cases.find(({ map }) => map === "pose/many1.png")!.pose);
const body = Array.from({ length: 18 }, (_, i) => [10 + 3 * i, 20 + 2 * i, 1]).flat();
const posed = (person: object, rest: object = {}) => ({
  people: [person],
  canvas_width: 100,
  canvas_height: 80,
  ...rest,
});

test("a pose that is written and read again draws the same skeletons", () => {
  const { pose } = readPose(many);
  const again = readPose(PoseJson.parse(JSON.parse(JSON.stringify(writePose(pose))))).pose;
  assert.deepEqual(again, pose);
  assert.deepEqual(drawPose(again), drawPose(pose));
});

test("points of BODY_25 are drawn as those of the 18 that are the same", () => {
  const of25 = [...body.slice(0, 24), 50, 50, 1, ...body.slice(24), ...Array(18).fill(0)];
  const read = (points: number[]) => readPose(PoseJson.parse(posed({ pose_keypoints_2d: points }))).pose;
  assert.equal(of25.length, 75);
  assert.deepEqual(read(of25), read(body));
});

test("points that are unsure are missing, and it is said; a lower bound keeps them", () => {
  const json = PoseJson.parse(posed({ pose_keypoints_2d: body.map((value, i) => (i % 3 === 2 ? 0.6 : value)) }));
  const strict = readPose(json);
  assert.ok(strict.pose.people[0]!.body!.every((point) => point === null));
  assert.match(strict.warnings.join(), /^18 points .* below 1: .*,the pose has no point/);
  assert.deepEqual(readPose(json, 0.5).warnings, []);
});

test("points that all lie within 1 are shares of the canvas, list by list", () => {
  const hand = Array.from({ length: 21 }, () => [0.5, 0.25, 1]).flat();
  const { people } = readPose(PoseJson.parse(posed({ pose_keypoints_2d: body, hand_left_keypoints_2d: hand }))).pose;
  assert.deepEqual(people[0]!.body![1], { x: 13, y: 22 });
  assert.deepEqual(people[0]!.leftHand![0], { x: 50, y: 20 });
});

for (const [what, json, path, says] of [
  ["17 points of a body", posed({ pose_keypoints_2d: body.slice(3) }), "people.0.pose_keypoints_2d", /18 or 25 points/],
  ["a hand of 18 points", posed({ hand_left_keypoints_2d: body }), "people.0.hand_left_keypoints_2d", /21 points/],
  ["a point that is no number", posed({ pose_keypoints_2d: ["1"] }), "people.0.pose_keypoints_2d.0", /number/],
  ["a point far away", posed({ pose_keypoints_2d: [1e9, ...body.slice(1)] }), "people.0.pose_keypoints_2d.0", /32767/],
  ["no canvas", { people: [] }, "canvas_width", /is required/],
  ["animals, which are not drawn", posed({}, { animals: [[1]] }), "animals", /not drawn/],
  ["an unknown part", posed({ feet_keypoints_2d: [] }), "people.0", /feet_keypoints_2d/],
] as const)
  test(`a pose with ${what} is refused by name`, () => {
    const issue = PoseJson.safeParse(json).error!.issues[0]!;
    assert.equal(issue.path.join("."), path);
    assert.match(issue.message, says);
  });

test("a skeleton far beyond the canvas costs no time", () => {
  const far = Array.from({ length: 21 }, (_, i) => [i % 2 ? -32_767 : 32_767, i % 3 ? 32_767 : -32_767, 1]).flat();
  const people = Array.from({ length: 100 }, () => ({
    pose_keypoints_2d: far.slice(0, 54),
    hand_left_keypoints_2d: far,
  }));
  const json = PoseJson.parse({ people, canvas_width: 512, canvas_height: 512 });
  const begin = performance.now();
  drawPose(readPose(json).pose);
  const ms = performance.now() - begin;
  assert.ok(ms < 5000, `${ms} ms`);
});

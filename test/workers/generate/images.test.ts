/** A request's images, as a worker reads them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeImage } from "../../../src/image/encode.ts";
import { Fitted } from "../../../workers/generate/fitted.ts";
import { readImages } from "../../../workers/generate/images.ts";
import { request } from "../../support/tiny.ts";

const grey = async (value: number) =>
  encodeImage({ width: 8, height: 8, data: new Uint8Array(192).fill(value) }, "png");
const hash = (digit: string) => `sha256:${digit.repeat(64)}`;
const files = { [hash("1")]: await grey(51), [hash("2")]: await grey(102) };
const asked = request({ num_images: 2 }, [{ image: [hash("1"), hash("2")] }, { image: hash("1"), mask: hash("2") }]);

test("hints are read when it is their turn, not all at once", async () => {
  let turns = 0;
  const { hints, masks } = await readImages(asked, files, async () => void turns++);
  assert.equal(turns, 1, "the mask alone");
  assert.ok(masks[1]!.data.every((value) => value === Math.fround(102 / 255)));
  const second = await hints[0]![1]!();
  assert.equal(turns, 2);
  assert.ok(second.data.every((value) => value === Math.fround(102 / 255)));
  assert.deepEqual(
    hints.map((own) => own.length),
    [2, 1],
  );
});

test("a generation that is to stop reads no further image", async () => {
  let stopped = false;
  const { hints } = await readImages(asked, files, async () => {
    if (stopped) throw new Error("stopped");
  });
  await hints[0]![0]!();
  stopped = true;
  await assert.rejects(hints[0]![1]!(), /stopped/);
});

test("an image that a request names 72 times is decoded once", async () => {
  let reads = 0;
  const get = (target: typeof files, hash: string | symbol) => {
    reads++;
    return Reflect.get(target, hash);
  };
  const counted: typeof files = new Proxy(files, { get });
  const control = asked.controls[0]!;
  const [hash] = Object.keys(files);
  const many = { ...control, image: Array(8).fill(hash), mask: hash! };
  const kept = new Fitted();
  const read = async () => {
    const controls = Array(8).fill(many);
    const { hints, masks } = await readImages(
      { ...asked, controls },
      counted,
      async () => {},
      [],
      () => {},
      kept,
    );
    for (const hint of hints.flat()) await hint();
    return [hints.flat().length, masks.length, reads];
  };
  assert.deepEqual(await read(), [64, 8, 1]);
  assert.deepEqual(await read(), [64, 8, 1], "nor by a generation that has given way");
});

test("of an image that a request names many times what it looks like is told of each, and looked at once", async () => {
  const kept = new Fitted();
  let looks = 0;
  const look = kept.look.bind(kept);
  kept.look = (hash, read) =>
    look(hash, () => {
      looks++;
      return read();
    });
  const controls = [0, 1].map(() => ({ ...asked.controls[1]!, controlnet: "canny", mask: null }));
  const warnings: string[] = [];
  const warn = (says: string) => void warnings.push(says);
  const { hints } = await readImages({ ...asked, controls }, files, async () => {}, [], warn, kept);
  for (const hint of hints.flat()) await hint();
  assert.deepEqual([warnings.length, looks], [2, 1]);
  for (const [i, says] of warnings.entries()) assert.match(says, new RegExp(`^controls\\[${i}\\].*all of one color`));
});

import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { writeHints, writePictures } from "../../demo/dataset.ts";
import { conditions } from "../../demo/world/maps.ts";
import { render } from "../../demo/world/render.ts";
import { scene } from "../../demo/world/scene.ts";
import { decodeImage } from "../../src/image/decode.ts";
import { readDataset } from "../../src/training/dataset.ts";

const root = mkdtempSync(join(tmpdir(), "scenes-"));
after(() => rmSync(root, { recursive: true }));

const LIMITS = { maxPixels: 2 ** 20 };
const silent = () => {};

test("scenes become a dataset that the trainer reads: picture i, map i and caption i belong together", async () => {
  const [pictures, poses] = [join(root, "pictures"), join(root, "pose")];
  await writePictures(pictures, 5, silent);
  await writeHints(poses, pictures, "pose", 5, silent);
  const [plain, hinted] = [readDataset(pictures, false), readDataset(poses, true)];
  assert.deepEqual([plain.length, hinted.length], [5, 5]);
  for (const [seed, { image, hint, prompt }] of hinted.entries()) {
    const one = scene(seed);
    assert.deepEqual(await decodeImage(readFileSync(image), LIMITS), await render(one));
    assert.deepEqual(await decodeImage(readFileSync(hint!), LIMITS), await conditions.pose(one));
    assert.equal(prompt, plain[seed]!.prompt);
    assert.ok(prompt.split(", ").every((words) => one.caption.includes(words)));
  }
});

test("what was half made is made again, and what is whole is left alone", async () => {
  const folder = join(root, "again");
  mkdirSync(`${folder}.part/images`, { recursive: true });
  writeFileSync(`${folder}.part/images/0.png`, "half a file");
  await assert.rejects(
    writePictures(folder, 3, (done) => {
      if (done === 2) {
        throw new Error("stopped");
      }
    }),
    /stopped/,
  );
  assert.ok(!existsSync(folder), "stopped half-way, there is no dataset");
  await writePictures(folder, 3, silent);
  assert.equal(readDataset(folder, false).length, 3);
  await writePictures(folder, 3, () => assert.fail("made again"));
});

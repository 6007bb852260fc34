import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { resizeArea, resizeCubic, resizeImage, resizeLanczos4, resizeLinear } from "../../src/image/opencv-resize.ts";
import type { Pixels } from "../../src/image/pixels.ts";
import { drawn, type Kind, type Size } from "./drawn.ts";

const functions = { linear: resizeLinear, lanczos4: resizeLanczos4, area: resizeArea };

interface Case {
  kind: Kind;
  from: Size;
  to: Size;
  as: keyof typeof functions | "resize_image";
  resolution?: number;
  sha256: string;
}
// Made by fixtures/make/opencv-resize.py, which draws the same pictures.
const { cases, cubic }: { cases: Case[]; cubic: { kind: Kind; from: Size; to: Size; bytes: string }[] } = JSON.parse(
  readFileSync(new URL("../fixtures/image/opencv-resize.json", import.meta.url), "utf8"),
);

function resized(picture: Pixels, { as, to, resolution }: Case): Pixels {
  return as === "resize_image" ? resizeImage(picture, resolution!) : functions[as](picture, ...to);
}

for (const name of [...Object.keys(functions), "resize_image"])
  test(`${name} has OpenCV's bytes`, (t) => {
    const own = cases.filter((one) => one.as === name);
    for (const one of own) {
      const { width, height, data } = resized(drawn(one.kind, one.from), one);
      const what = `${one.kind} ${one.from.join("×")} to ${one.to.join("×")}`;
      assert.deepEqual([width, height], one.to, what);
      assert.equal(createHash("sha256").update(data).digest("hex"), one.sha256, what);
    }
    t.diagnostic(`${own.length} of ${own.length} pictures to the byte`);
  });

test("cubic differs from OpenCV's bytes by 1 at most, on a thousandth of them", (t) => {
  let [bytes, different] = [0, 0];
  for (const { kind, from, to, bytes: hex } of cubic) {
    const { data } = resizeCubic(drawn(kind, from), ...to);
    for (const [i, byte] of Buffer.from(hex, "hex").entries()) {
      assert.ok(Math.abs(data[i]! - byte) <= 1);
      different += data[i] === byte ? 0 : 1;
      bytes += 1;
    }
  }
  t.diagnostic(`${different} of ${bytes} bytes`);
  assert.ok(bytes > 4000 && different <= bytes / 1000);
});

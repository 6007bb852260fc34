import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { openBase, openControlNet } from "../../../src/models/base.ts";
import { joint } from "../../../src/models/joint.ts";
import { joining } from "../../../workers/generate/joining.ts";
import { CPU } from "../../../workers/runtime/runtime.ts";
import { SD15 } from "../../support/tiny.ts";

const { unet } = openBase(join(SD15, "base")).networks;
const { controlnet } = openControlNet(join(SD15, "controlnets/canny")).networks;
const ACCELERATOR = { ...CPU, joint: true };
const NEEDED = 2 * unet.weightBytes + controlnet.weightBytes;

test("an accelerator runs a U-Net and its ControlNets as one network", () => {
  assert.equal(joining(ACCELERATOR, NEEDED)(unet, [controlnet]), joint(unet, [controlnet]));
});

test("where MEMORY_BUDGET has no room for it beside the U-Net alone, each runs by itself", () => {
  assert.equal(joining(ACCELERATOR, NEEDED - 1)(unet, [controlnet]), null);
});

test("in half precision it takes half the room", () => {
  const half = { ...ACCELERATOR, half: true };
  assert.equal(joining(half, NEEDED / 2)(unet, [controlnet]), joint(unet, [controlnet]));
  assert.equal(joining(half, NEEDED / 2 - 1)(unet, [controlnet]), null);
});

test("on the CPU each runs by itself: the residuals are in its memory", () => {
  assert.equal(joining(CPU, Number.POSITIVE_INFINITY)(unet, [controlnet]), null);
});

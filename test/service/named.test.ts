/** `npm start` with a model by its name: from a hub on this machine to a picture, and what it says of files that it cannot serve. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import sharp from "sharp";
import { filesBelow, localHub } from "../support/hub.ts";
import { freePort, kill, startNode, temporaryFolder, until } from "../support/processes.ts";

const SD15 = join(import.meta.dirname, "../fixtures/sd15");
const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

test("npm start -- --model org/name --controlnet org/name --prompt … ends in a picture, and says of each file why it is not served", async () => {
  const hub = await localHub(
    new Map([
      ["org/model", filesBelow(join(SD15, "base"))],
      ["org/canny", filesBelow(join(SD15, "controlnets/canny"))],
    ]),
  );
  stack.defer(() => hub.close());
  const cwd = await temporaryFolder(stack);
  mkdirSync(join(cwd, "models"));
  writeFileSync(join(cwd, "models/pointer.safetensors"), "version https://git-lfs.github.com/spec/v1\noid sha256:01\n");
  const hint = join(cwd, "hint.png");
  await sharp({ create: { width: 64, height: 64, channels: 3, background: "black" } }).toFile(hint);
  const DATA_DIR = join(cwd, "data");
  const env = { DATA_DIR, PORT: String(await freePort()), EXECUTION_PROVIDER: "cpu", HF_ENDPOINT: hub.endpoint };
  const named = ["--model", "org/model", "--controlnet", "org/canny", "--prompt", "a red house", "--hint", hint];
  const supervisor = startNode(stack, "start.ts", env, { words: named, cwd });
  stack.defer(() => kill(supervisor.child, "SIGTERM"));
  await until("the picture", async () => /picture: .*\n/.test(supervisor.output), 120_000);
  assert.match(supervisor.output, /license: creativeml-openrail-m/);
  assert.match(supervisor.output, /not served: models\/pointer: .*git-lfs pointer/);
  const { width, height, format } = await sharp(readFileSync(join(cwd, "picture.png"))).metadata();
  assert.deepEqual([width, height, format], [64, 64, "png"]);
});

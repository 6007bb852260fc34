import assert from "node:assert/strict";
import { test } from "node:test";
import { shownMessage } from "../../../workers/generate/shown-message.ts";

test("a message names files, and not where they lie", () => {
  const shown = (message: string) => shownMessage(new Error(message));
  assert.equal(
    shown("ENOENT: no such file or directory, open '/srv/models/sd15/unet/config.json'"),
    "ENOENT: no such file or directory, open 'config.json'",
  );
  assert.equal(shown("/data/cache/a.onnx: cannot be read (/data/b.bin)"), "a.onnx: cannot be read (b.bin)");
  assert.equal(shown("1/2 of the heads at down_blocks/0/attn"), "1/2 of the heads at down_blocks/0/attn");
});

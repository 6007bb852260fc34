/** The recipes as they are printed. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { service } from "./demo.ts";

const docs = join(import.meta.dirname, "../../docs");
const recipes = readFileSync(join(docs, "recipes.md"), "utf8").matchAll(/^## (.+)\n[\s\S]*?```sh\n([\s\S]*?)```/gm);

for (const [, title, command] of recipes) {
  test(`${title}: its one request makes a picture`, async () => {
    const here = command!.replace("http://127.0.0.1:8080", service.config.PUBLIC_URL);
    const { stdout } = await promisify(execFile)("sh", ["-c", here], { cwd: docs });
    const { status, images, warnings } = JSON.parse(stdout);
    assert.deepEqual([status, images.length, warnings], ["succeeded", 1, []], stdout);
  });
}

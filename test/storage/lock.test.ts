import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { lock } from "../../src/storage/lock.ts";

const folder = mkdtempSync(join(tmpdir(), "lock-"));
after(() => rmSync(folder, { recursive: true }));

test("a folder is one process' alone, and is free again as soon as that is killed", async () => {
  const file = join(import.meta.dirname, "../../src/storage/lock.ts");
  const code = `import { lock } from ${JSON.stringify(file)}; console.log(await lock(process.argv[1])); setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code, folder]);
  let warnings = "";
  child.stderr.on("data", (chunk) => (warnings += chunk));
  const [said] = await once(child.stdout, "data");
  assert.deepEqual([String(said), warnings], ["true\n", ""]);
  assert.equal(await lock(folder), false);
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
  assert.equal(await lock(folder), true);
});

/** sdk/typescript as its users get it: current, packed, installed; the programs of its README as they are printed. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { pino } from "pino";
import sharp from "sharp";
import { generateClient } from "../../sdk/generate.ts";
import { DEMO_MODELS_DIR } from "../../src/config/config.ts";
import { startDeliverer } from "../../workers/deliver/worker.ts";
import { startGateway } from "../support/gateway.ts";
import { installPacked, oldestNode } from "../support/install-packed.ts";
import { freePort, temporaryFolder, until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const sdk = join(root, "sdk/typescript");

/** Every file of a folder, by its path. */
function filesOf(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  return Object.fromEntries(names.sort().map((name) => [name, readFileSync(join(folder, name), "utf8")]));
}

test("sdk/typescript/src/generated is what openapi.json gives; `npm run sdk` writes it anew", async () => {
  const fresh = await temporaryFolder(stack);
  await generateClient(fresh);
  assert.deepEqual(filesOf(join(sdk, "src/generated")), filesOf(fresh));
});

test("its README's programs compile as strict TypeScript and run as printed: packed, installed, under the oldest Node at hand", async (context) => {
  const [program, receiver] = [...readFileSync(join(sdk, "README.md"), "utf8").matchAll(/```js\n(.*?)```/gs)].map(
    ([, code]) => code!,
  );
  const folder = await installPacked(stack, sdk);
  for (const [name, code] of Object.entries({ program: program!, receiver: receiver! })) {
    for (const ending of ["mjs", "mts"]) await writeFile(join(folder, `${name}.${ending}`), code);
  }
  const tsc = join(root, "node_modules/@typescript/native/bin/tsc");
  const options = "--noEmit --strict --target es2022 --module nodenext --lib es2023,dom --types node --typeRoots";
  const types = [...options.split(" "), join(root, "node_modules/@types"), "program.mts", "receiver.mts"];
  await run(process.execPath, [tsc, ...types], { cwd: folder }).catch(({ stdout }) => assert.fail(stdout));

  const node = await oldestNode();
  context.diagnostic(`Node ${node.version}`);
  const port = await freePort();
  const KEY = "0123456789abcdef";
  const settings = { MODELS_DIR: DEMO_MODELS_DIR, ALLOW_HOSTS: `localhost:${port}`, API_KEYS: `me:${KEY}` };
  const gateway = await startGateway(stack, settings);
  await gateway.work();
  const deliverer = startDeliverer(gateway.config, pino({ level: "silent" }));
  stack.defer(() => deliverer.close());
  await until("ready", async () => (await fetch(`${gateway.config.PUBLIC_URL}/ready`)).ok);
  const env = { API: gateway.config.PUBLIC_URL, API_KEY: KEY, RECEIVER_PORT: String(port) };

  await copyFile(join(root, "docs/recipes/picture.jpg"), join(folder, "photo.jpg"));
  const { stdout, stderr } = await run(node.path, ["program.mjs"], { cwd: folder, env });
  assert.equal(stderr, "");
  const lines = stdout.trim().split("\n");
  assert.match(lines[0]!, /\bcanny\b/);
  const steps = lines.slice(1, -1);
  assert.ok(steps.length >= 20, stdout);
  assert.deepEqual(
    steps,
    steps.map((_, i) => `${i + 1} of ${steps.length}`),
  );
  assert.equal(lines.at(-1), "canceled");
  for (const name of ["house-7.png", "house-8.png"]) {
    assert.equal((await sharp(await readFile(join(folder, name))).metadata()).width, 128);
  }

  const running = spawn(node.path, ["receiver.mjs"], { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"] });
  stack.defer(() => void running.kill());
  let heard = "";
  running.stdout.on("data", (chunk) => (heard += chunk));
  const forged = { method: "POST", body: "{}" };
  const answer = await until("the receiver", () => fetch(`http://localhost:${port}`, forged).catch(() => undefined));
  assert.equal(answer.status, 400);
  const sent = await gateway.http
    .post("/v1/generations")
    .set("Authorization", `Bearer ${KEY}`)
    .send({ prompt: "x", num_inference_steps: 1, webhook: { url: `http://localhost:${port}` } });
  await until("the webhook", async () => heard.includes("\n"));
  assert.equal(heard, `${gateway.config.PUBLIC_URL}/v1/generations/${sent.body.id}/images/0\n`);
});

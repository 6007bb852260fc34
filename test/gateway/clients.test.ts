/** The programs of docs/clients.md do what is said there. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { pino } from "pino";
import sharp from "sharp";
import { startDeliverer } from "../../workers/deliver/worker.ts";
import { cuttingProxy } from "../support/cutting-proxy.ts";
import { startGateway } from "../support/gateway.ts";
import { freePort, temporaryFolder, until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const root = join(import.meta.dirname, "../..");
const guide = await readFile(join(root, "docs/clients.md"), "utf8");
const [client, receiver] = [...guide.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code!);
const asModule = (code: string) => ["--input-type=module", "--eval", code];

test("docs/clients.md: the client makes, follows over cut connections, saves, uploads, cancels and deletes; the receiver takes signed webhooks", async () => {
  const port = await freePort();
  const KEY = "0123456789abcdef";
  const gateway = await startGateway(stack, { ALLOW_HOSTS: `localhost:${port}`, API_KEYS: `me:${KEY}` });
  await gateway.work();
  const deliverer = startDeliverer(gateway.config, pino({ level: "silent" }));
  stack.defer(() => deliverer.close());
  const env = { API: gateway.config.PUBLIC_URL, API_KEY: KEY, RECEIVER_PORT: String(port) };

  const running = spawn(process.execPath, asModule(receiver!), {
    cwd: root,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  stack.defer(() => void running.kill());
  let heard = "";
  running.stdout.on("data", (chunk) => (heard += chunk));
  await until("the receiver to listen", () =>
    fetch(`http://localhost:${port}`, { method: "POST" }).catch(() => undefined),
  );
  const webhook = { url: `http://localhost:${port}` };
  const sent = await gateway.http
    .post("/v1/generations")
    .set("Authorization", `Bearer ${KEY}`)
    .send({ prompt: "x", num_inference_steps: 1, webhook });
  const { id } = sent.body;
  await until("the webhook", async () => heard.includes("\n") || undefined);
  assert.equal(heard, `evt_${id.replace("gen_", "")}_succeeded generation.succeeded ${id} succeeded\n`);

  const cwd = await temporaryFolder(stack);
  const way = await cuttingProxy(stack, gateway.config);
  const { stdout } = await promisify(execFile)(process.execPath, asModule(client!), {
    cwd,
    env: { ...env, API: way.address },
  });
  for (const name of ["house-0.png", "house-1.png", "night-0.png"]) {
    assert.equal((await sharp(join(cwd, name)).metadata()).format, "png");
  }
  assert.equal(way.cuts(), 2);
  const steps = [...stdout.matchAll(/^night: (\d+ of \d+)$/gm)].map(([, step]) => step);
  const total = steps.length;
  assert.ok(total >= 28, stdout);
  assert.deepEqual(
    steps,
    Array.from({ length: total }, (_, i) => `${i + 1} of ${total}`),
    "each once, over the cuts",
  );
  assert.match(stdout, /long: canceled\n$/);
  const list = await gateway.http.get("/v1/generations").set("Authorization", `Bearer ${KEY}`);
  assert.deepEqual(
    list.body.data.map((one: { id: string }) => one.id),
    [id],
    "what it has made it has deleted",
  );
});

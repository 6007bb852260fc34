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
import { startGateway } from "../support/gateway.ts";
import { freePort, temporaryFolder, until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const root = join(import.meta.dirname, "../..");
const guide = await readFile(join(root, "docs/clients.md"), "utf8");
const [client, receiver] = [...guide.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code!);
/** What the guide's own `call` must do too: it sets the Content-Type of JSON always, with a body or without. */
const BY_ITS_CALL = `
const { readFile } = await import("node:fs/promises");
const body = await readFile("picture-0.png");
const upload = await (await call(API + "/v1/uploads", { method: "POST", headers: { "Content-Type": "image/png" }, body })).json();
await call(API + "/v1/uploads/" + upload.id, { method: "DELETE" });
const long = { method: "POST", body: JSON.stringify({ prompt: "x", num_inference_steps: 150 }) };
const other = await (await call(API + "/v1/generations", long)).json();
await call(API + "/v1/generations/" + other.id + "/cancel", { method: "POST" });
await call(API + "/v1/generations/" + generation.id, { method: "DELETE" });
`;
const asModule = (code: string) => ["--input-type=module", "--eval", code];

test("docs/clients.md: the client saves its pictures, and the receiver takes signed webhooks", async () => {
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
  await promisify(execFile)(process.execPath, asModule(client! + BY_ITS_CALL), { cwd, env });
  for (const name of ["picture-0.png", "picture-1.png"]) {
    assert.equal((await sharp(join(cwd, name)).metadata()).format, "png");
  }
});

/**
 * Clients as generators make them of openapi.json, by their defaults: compiled as strict TypeScript, and driven against a
 * service with an API key. The table that comes of it stands in docs/clients.md, and is printed.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import openapiTypescript, { astToString } from "openapi-typescript";
import { generate as orval } from "orval";
import { pino } from "pino";
import sharp from "sharp";
import { Webhook } from "standardwebhooks";
import { generateApi } from "swagger-typescript-api";
import { startDeliverer } from "../../workers/deliver/worker.ts";
import { startGateway } from "../support/gateway.ts";
import { temporaryFolder } from "../support/processes.ts";
import { receive } from "../support/receive.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const root = join(import.meta.dirname, "../..");
const document = join(root, "openapi/openapi.json");
const KEY = "0123456789abcdef";

const gateway = await startGateway(stack, { API_KEYS: `me:${KEY}`, ALLOW_HOSTS: "127.0.0.1" });
await gateway.work();
const deliverer = startDeliverer(gateway.config, pino({ level: "silent" }));
stack.defer(() => deliverer.close());
const receiver = await receive(stack);
const baseUrl = gateway.config.PUBLIC_URL;

/** Generator → writes its client into a folder, as the file or folder of its name. */
const GENERATORS: Record<string, (folder: string) => Promise<unknown>> = {
  // What is committed is what it gives: typescript.test.ts holds that.
  "hey-api": (folder) => cp(join(root, "sdk/typescript/src/generated"), join(folder, "hey-api"), { recursive: true }),
  "openapi-typescript": async (folder) => {
    const types = astToString(await openapiTypescript(JSON.parse(await readFile(document, "utf8"))));
    await writeFile(join(folder, "openapi-typescript.ts"), types);
  },
  orval: (folder) =>
    orval({ input: { target: document }, output: { target: join(folder, "orval.ts"), client: "fetch", baseUrl } }),
  "swagger-typescript-api": (folder) =>
    generateApi({ input: document, output: folder, fileName: "swagger-typescript-api.ts", silent: true }),
};

const PACKAGES = {
  "hey-api": ["@hey-api/openapi-ts"],
  "openapi-typescript": ["openapi-typescript", "openapi-fetch"],
  orval: ["orval"],
  "swagger-typescript-api": ["swagger-typescript-api"],
};

const folder = await temporaryFolder(stack);
const generated = join(folder, "generated");

before(async () => {
  await cp(join(import.meta.dirname, "clients"), folder, { recursive: true });
  await mkdir(generated);
  await writeFile(join(folder, "package.json"), '{ "type": "module" }');
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  for (const generate of Object.values(GENERATORS)) await generate(generated);
});

test("all compile with tsc --strict, and the programs that use them", async () => {
  const tsc = join(root, "node_modules/@typescript/native/bin/tsc");
  const options =
    "--strict --target es2022 --module nodenext --lib es2023,dom,dom.iterable,dom.asynciterable --types node";
  const files = Object.keys(GENERATORS).map((name) => `${name}.ts`);
  const args = [tsc, ...options.split(" "), "--rewriteRelativeImportExtensions", "--outDir", "out", ...files];
  await promisify(execFile)(process.execPath, args, { cwd: folder }).catch(({ stdout }) => assert.fail(stdout));
});

test("every operation is a method of its operationId's name, in each", async () => {
  const { paths } = JSON.parse(await readFile(document, "utf8"));
  const ids = Object.values<Record<string, { operationId: string }>>(paths)
    .flatMap((operations) => Object.values(operations))
    .map(({ operationId }) => operationId);
  assert.ok(ids.length > 40);
  const says: Record<string, (id: string) => string> = {
    "hey-api/sdk.gen.ts": (id) => `export const ${id} = `,
    "openapi-typescript.ts": (id) => `operations["${id}"]`,
    "orval.ts": (id) => `export const ${id} = async `,
    "swagger-typescript-api.ts": (id) => ` ${id}: (`,
  };
  for (const [file, line] of Object.entries(says)) {
    const text = await readFile(join(generated, file), "utf8");
    assert.deepEqual(
      ids.filter((id) => !text.includes(line(id))),
      [],
      file,
    );
  }
});

const hint = await sharp({ create: { width: 64, height: 48, channels: 3, background: "black" } })
  .png()
  .toBuffer();

/** What the driver of a client does, one after the other, and how it is known to be right. */
async function drive(driver: import("./clients/driver.ts").Driver): Promise<string[]> {
  const upload = await driver.upload(new Blob([new Uint8Array(hint)], { type: "image/png" }));
  const id = await driver.create(upload, receiver.url);
  const { steps, status } = await driver.wait(id);
  assert.equal(status, "succeeded");
  if (steps !== undefined) assert.deepEqual(steps, [1, 2, 3, 4]);
  assert.equal((await driver.list())[0], id);
  const picture = await driver.picture(id);
  assert.equal((await sharp(await picture.arrayBuffer()).metadata()).format, "png");
  assert.equal(await driver.cancel(), "canceled");
  assert.deepEqual(await driver.error(), { code: "invalid_request", path: "width" });
  const { body, headers } = await receiver.next();
  const payload = new Webhook(await driver.secret()).verify(body, headers as Record<string, string>);
  assert.deepEqual(driver.webhook(payload), [`${baseUrl}/v1/generations/${id}/images/0`]);
  const waited = steps === undefined ? "wait (asking)" : "wait (events)";
  return ["upload", "create with a control", waited, "list", "picture", "cancel", "error", "webhook"];
}

const rows: string[] = [];
for (const [name, packages] of Object.entries(PACKAGES)) {
  test(`${name}: its client does all of it`, async () => {
    const { default: open } = await import(join(folder, "out", `${name}.js`));
    const calls = await drive(open(baseUrl, KEY));
    const versions = packages.map(async (one) => {
      const manifest = await readFile(join(root, "node_modules", one, "package.json"), "utf8");
      return `${one} ${JSON.parse(manifest).version}`;
    });
    rows.push(`| ${(await Promise.all(versions)).join(", ")} | ${calls.join(", ")} |`);
  });
}

test("docs/clients.md has the table", async (context) => {
  const table = ["| generator | its client does |", "|---|---|", ...rows].join("\n");
  for (const line of table.split("\n")) context.diagnostic(line);
  const docs = await readFile(join(root, "docs/clients.md"), "utf8");
  assert.ok(docs.includes(table), "write the table that is printed above into docs/clients.md");
});

/**
 * Every call of every client that the dialects are for: passed, or refused for a stated reason. The table that comes of it
 * stands in docs/dialects.md, and is printed.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { startGateway } from "../support/gateway.ts";
import { handWritten } from "./clients/by-hand.ts";
import type { Call } from "./clients/call.ts";
import { nodeSdWebui } from "./clients/node-sd-webui.ts";
import { openai } from "./clients/openai.ts";
import { replicate } from "./clients/replicate.ts";
import { stableDiffusionApi } from "./clients/stable-diffusion-api.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const root = join(import.meta.dirname, "../..");
const gateway = await startGateway(stack); // without keys, for one of the clients knows none
await gateway.work();
const url = gateway.config.PUBLIC_URL;

const versionOf = async (name: string): Promise<string> =>
  JSON.parse(await readFile(join(root, "node_modules", name, "package.json"), "utf8")).version;

const clients: [name: string, calls: Call[]][] = [
  [`openai ${await versionOf("openai")}`, openai(url)],
  [
    `stable-diffusion-api ${await versionOf("stable-diffusion-api")}`,
    await stableDiffusionApi(url, "stable-diffusion-api"),
  ],
  [`a1111-webui-api ${await versionOf("a1111-webui-api")}`, await stableDiffusionApi(url, "a1111-webui-api")],
  [`node-sd-webui ${await versionOf("node-sd-webui")}`, nodeSdWebui(url)],
  [`replicate ${await versionOf("replicate")}`, replicate(url)],
  ...handWritten(url),
];

/** What an error says, with what the server answered. */
function saidBy(error: unknown): string {
  const { message, response } = error as { message: string; response?: { data?: unknown } };
  return `${message} ${JSON.stringify(response?.data ?? "")}`;
}

const rows: string[] = [];
for (const [client, calls] of clients) {
  const passed: string[] = [];
  const refused: string[] = [];
  for (const { name, run, refusal } of calls) {
    test(`${client}: ${name}${refusal === undefined ? "" : " is refused"}`, async () => {
      if (refusal === undefined) {
        await run();
        passed.push(`\`${name}\``);
        return;
      }
      await assert.rejects(run, (error) => {
        assert.match(saidBy(error), refusal.says);
        return true;
      });
      refused.push(`\`${name}\`: ${refusal.why}`);
    });
  }
  test(`${client}: its row of the table`, () => {
    assert.equal(passed.length + refused.length, calls.length);
    rows.push(`| ${client} | ${passed.join(", ")} | ${refused.join("; ") || "–"} |`);
  });
}

test("docs/dialects.md has the table", async (context) => {
  const table = ["| client | passes | is refused, and why |", "|---|---|---|", ...rows].join("\n");
  for (const line of table.split("\n")) context.diagnostic(line);
  const docs = await readFile(join(root, "docs/dialects.md"), "utf8");
  assert.ok(docs.includes(table), "write the table that is printed above into docs/dialects.md");
});

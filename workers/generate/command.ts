/**
 * npm run models -- check [DIR] | pull org/name [--revision R] [--variant fp16] [--file F] [--shelf S] | list | remove org/name
 * MODELS_DIR says where models lie (./models without it), HF_ENDPOINT and HF_TOKEN which hub they come from.
 */
import { parseArgs } from "node:util";
import { Hub } from "../../src/hub/hub.ts";
import { HubError } from "../../src/hub/hub-fetch.ts";
import { modelsFolder } from "../../src/hub/own-models.ts";
import { inBytes, progress } from "../../src/hub/progress.ts";
import { listPulled, pull, pulledId, removePulled } from "../../src/hub/pull.ts";
import { SHELF_ROUTES, type ShelfName } from "../../src/schema/catalog.ts";
import { explain } from "./explain.ts";
import { openLibrary } from "./library.ts";

const USAGE = `npm run models -- check [DIR]            what a folder or file of models is, or why it is not served
npm run models -- pull org/name          fetch a model, ControlNet, LoRA or T2I-Adapter from the hub
    [--revision R] [--variant fp16] [--file NAME.safetensors] [--shelf ${Object.keys(SHELF_ROUTES).join("|")}]
npm run models -- list                   what was fetched
npm run models -- remove org/name        remove what was fetched`;

const say = (line: string) => process.stdout.write(`${line}\n`);

function readCommandLine() {
  const text = { type: "string" as const };
  const { values, positionals } = parseArgs({
    options: { revision: text, variant: text, file: text, shelf: text },
    allowPositionals: true,
  });
  const { revision = "main", variant = null, file = null, shelf = null } = values;
  if (variant !== null && variant !== "fp16") {
    throw new HubError(`--variant ${variant}: fp16 is the only one; without it the plain weights are fetched`);
  }
  if (shelf !== null && !(shelf in SHELF_ROUTES)) {
    throw new HubError(`--shelf ${shelf}: must be one of ${Object.keys(SHELF_ROUTES).join(", ")}`);
  }
  const [command = "", name] = positionals;
  return {
    command,
    name,
    count: positionals.length,
    asked: { revision, variant: variant as "fp16" | null, file, shelf: shelf as ShelfName | null },
  };
}

type CommandLine = ReturnType<typeof readCommandLine>;

/** Why something that was fetched is not served; null when it is. */
function reasonOf(models: string, shelf: ShelfName, id: string): string | null {
  const { catalog } = openLibrary(models);
  if ((catalog[shelf] as readonly { id: string }[]).some((entry) => entry.id === id)) return null;
  return catalog.skipped.find((one) => one.shelf === shelf && one.id === id)?.reason ?? "another name hides it";
}

const named = ({ command, name, count }: CommandLine): string => {
  if (name === undefined || count !== 2) throw new HubError(`say which: npm run models -- ${command} org/name`);
  return name;
};

const COMMANDS: Readonly<Record<string, (line: CommandLine) => number | Promise<number>>> = {
  check({ name }) {
    const { lines, unavailable } = explain(name ?? modelsFolder(process.env));
    lines.forEach(say);
    return unavailable > 0 ? 1 : 0;
  },
  async pull(line) {
    const [hub, models] = [new Hub(process.env), modelsFolder(process.env)];
    const pulled = await pull(hub, models, { ...line.asked, name: named(line) }, progress(hub, say));
    const id = pulledId(pulled);
    const reason = reasonOf(models, pulled.shelf, id);
    say(
      reason === null ? `${pulled.shelf}/${id} is there, in ${models}` : `${pulled.shelf}/${id}: not served: ${reason}`,
    );
    return reason === null ? 0 : 1;
  },
  list() {
    for (const pulled of listPulled(modelsFolder(process.env))) {
      const bytes = pulled.files.reduce((sum, { size }) => sum + size, 0);
      const { shelf, revision, commit, license } = pulled;
      say(
        `${shelf}/${pulledId(pulled)}  ${inBytes(bytes)}  ${revision} (${commit.slice(0, 12)})  ${license ?? "license not said"}`,
      );
    }
    return 0;
  },
  remove(line) {
    removePulled(modelsFolder(process.env), named(line));
    say(`${named(line)} is removed`);
    return 0;
  },
};

try {
  const line = readCommandLine();
  const run = COMMANDS[line.command];
  if (run === undefined) throw new HubError(USAGE);
  process.exitCode = await run(line);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

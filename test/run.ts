/**
 * npm test, and npm run test:fast: the tests that measure time one file after the other, the rest two files at once or more,
 * and one summary of all. `node --test FILE` runs one file alone.
 */
import { globSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, relative } from "node:path";
import { Readable } from "node:stream";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { pathToFileURL } from "node:url";

/** Tests that fail when others keep the machine busy: they measure time or memory, or take every core themselves. */
const ALONE = [
  "test/diffusion/{noise,prompt,tokenizer}.test.ts",
  "test/gateway/{guests,images,redis-away}.test.ts",
  "test/image/{decode,resize}.test.ts",
  "test/outbound/*.test.ts",
];

/** Tests that mostly wait, for what has died to be missed: beside each other, but not beside what keeps the machine busy. */
const WAITING = ["test/service/{chaos,start,trainings}.test.ts", "test/workers/generate/generate.test.ts"];

/**
 * Tests that share one process a row, so that the runtime, the schemas and the rest are loaded once and not for each file. Theirs
 * is nothing that others in the process would see: no hook before each test, no mocked module, no setting, no service.
 */
const TOGETHER = [
  "test/models/{*-kinds,base,edm,fit,forms,prediction,published,recognize,safetensors,torch-file,wild,lora/*}.test.ts",
  "test/{annotators,config,image,schema}/**/!(provenance).test.ts",
  "test/{diffusion,onnx}/!(pipeline).test.ts",
  "test/{demo,training}/!(checkpoint|dataset|make).test.ts",
  "test/{{architecture,functions,setup},workers/{generate/!(fair|generate),runtime/*}}.test.ts",
];

/** What test:fast leaves out: tests that start whole services, train networks, or draw many pictures. */
const SLOW = [
  "test/{hub,page,sdk,service}/*.test.ts",
  "test/dialects/clients.test.ts",
  "test/demo/{checkpoint,make}.test.ts",
  "test/gateway/{annotations,controls,wild}.test.ts",
  "test/models/{single-file,wild-fixtures}.test.ts",
  "test/workers/{deliver,generate,train}/*.test.ts",
];

const root = join(import.meta.dirname, "..");

/** Paths as `node --test` would find them, from the root of the project. */
const filesOf = (patterns: string | string[]) => globSync(patterns, { cwd: root }).sort();

const alone = new Set(filesOf(ALONE));
const waiting = new Set(filesOf(WAITING));
const slow = new Set(process.argv.includes("--fast") ? filesOf(SLOW) : []);
const files = filesOf("test/**/*.test.ts").filter((file) => !slow.has(file));
const others = files.filter((file) => !alone.has(file) && !waiting.has(file));

/** A file for each row of TOGETHER that imports the row's; and what is in no row. */
function merged(): string[] {
  const kept = new Set(others);
  const folder = join(root, "node_modules/.cache/together");
  mkdirSync(folder, { recursive: true });
  const rows = TOGETHER.map((pattern, row) => {
    const own = filesOf(pattern).filter((file) => kept.delete(file));
    const path = join(folder, `${row}.test.mjs`);
    writeFileSync(
      path,
      own.map((file) => `import ${JSON.stringify(pathToFileURL(join(root, file)).href)};\n`).join(""),
    );
    return path;
  });
  return [...rows, ...kept];
}

const passes = [
  {
    files: merged(),
    concurrency: Math.max(2, availableParallelism() - 1),
  },
  { files: files.filter((file) => waiting.has(file)), concurrency: 2 },
  { files: files.filter((file) => alone.has(file)), concurrency: 1 },
];

// Every file is a process, and many start more: what one has compiled, types stripped, the next need not compile again.
process.env.NODE_COMPILE_CACHE ??= join(root, "node_modules/.cache/compile");

// What one file has prepared of a network, the next need not prepare again.
const prepared = mkdtempSync(join(tmpdir(), "cn-prepared-"));
process.env.TEST_PREPARED = prepared;
process.on("exit", () => rmSync(prepared, { recursive: true, force: true }));

/**
 * Files in which something has failed that are run once more, alone: what others on the machine kept from being in time is then told
 * as unsteady, and what is broken fails again. More than so many are no matter of time.
 */
const MOST_AGAIN = 2;

/** A count of the summary at the end, such as "pass 12". */
const COUNT = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/;

/** What all passes say; then what has failed in any, and their counts added up. */
async function* events() {
  const counts = new Map<string, number>();
  const failed = new Map<string, string[]>();
  let summary: unknown;
  for (const pass of passes) {
    for await (const event of run({ ...pass, cwd: root })) {
      const { type, data } = event;
      const [, name, value] = (type === "test:diagnostic" && data.nesting === 0 && COUNT.exec(data.message)) || [];
      const isSummary = type === "test:summary" && data.file === undefined;
      if (isSummary && !data.success) process.exitCode = 1;
      if (type === "test:fail") {
        const file = data.file ?? "";
        failed.set(file, [...(failed.get(file) ?? []), data.name]);
      }
      if (isSummary) summary = event;
      else if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + Number(value));
      else yield event;
    }
  }
  yield summary; // the reporter lists what has failed
  for (const [name, value] of counts) yield note(`${name} ${value}`);
  if (failed.size === 0 || failed.size > MOST_AGAIN || failed.has("")) return;
  yield note("once more, alone:");
  for await (const event of run({ files: [...failed.keys()], concurrency: 1, cwd: root })) {
    yield event;
    if (event.type !== "test:summary" || event.data.file !== undefined || !event.data.success) continue;
    process.exitCode = 0;
    for (const [file, names] of failed) {
      yield note(`UNSTEADY: ${relative(root, file)}: failed beside others and passed alone: ${names.join(", ")}`);
    }
  }
}

const note = (message: string) => ({ type: "test:diagnostic", data: { nesting: 0, message, level: "info" } });

Readable.from(events()).compose(spec()).pipe(process.stdout);

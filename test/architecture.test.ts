/** Which folder may import what: the table of the README, and no cycle anywhere. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..");

/** Everything that a folder may import beside itself and Node: folders, files, and packages. A folder that is not here may not be. */
const ALLOWED: Record<string, readonly string[]> = {
  "src/onnx": [],
  "src/random": [],
  "src/models": ["src/onnx", "zod"],
  "src/diffusion": ["src/models", "src/onnx", "src/random", "src/schema", "@huggingface/tokenizers", "zod"],
  "src/image": ["@peculiar/x509", "@trustnxt/c2pa-ts", "src/random", "src/schema", "sharp"],
  "src/annotators": ["src/diffusion", "src/image", "src/models", "src/onnx", "src/schema", "zod"],
  "src/hub": ["src/models", "src/schema", "@huggingface/hub"],
  "src/training": ["src/diffusion", "src/models", "src/onnx"],
  "src/schema": ["fastest-levenshtein", "zod"],
  "src/errors.ts": [],
  "src/config": ["src/errors.ts", "zod"],
  "src/redis": ["src/errors.ts", "ioredis"],
  "src/observe": ["src/config", "ioredis", "pino", "prom-client"],
  "src/outbound": ["src/config", "ipaddr.js", "undici"],
  "src/storage": ["src/config", "src/errors.ts", "src/jobs"],
  "src/webhooks": ["src/jobs", "src/redis", "src/schema", "ioredis", "standardwebhooks"],
  "src/jobs": [
    ...["src/config", "src/errors.ts", "src/redis", "src/schema", "src/storage", "src/webhooks"],
    ...["bullmq", "ioredis", "zod"],
  ],
  "src/gateway": [
    ...["src/config", "src/errors.ts", "src/jobs", "src/observe", "src/outbound", "src/redis", "src/schema"],
    ...[
      "src/storage",
      "src/webhooks",
      "src/image/decode.ts",
      "src/image/image-error.ts",
      "src/image/mask-forms.ts",
      "src/image/png-text.ts",
      "src/training/dataset.ts",
    ],
    ...[
      "@fastify/proxy-addr",
      "@fastify/rate-limit",
      "@fastify/swagger",
      "@fastify/swagger-ui",
      "fastify",
      "fastify-type-provider-zod",
    ],
    ...["fastest-levenshtein", "ioredis", "p-limit", "prom-client", "zod"],
  ],
  "workers/take-jobs.ts": ["src/config", "src/jobs", "src/redis", "src/storage", "bullmq", "ioredis", "pino"],
  "workers/runtime": [
    "src/diffusion",
    "src/errors.ts",
    "src/models",
    "src/observe",
    "src/onnx",
    "src/storage",
    "onnxruntime-node",
  ],
  "workers/generate": [
    ...["src/annotators", "src/config", "src/diffusion", "src/errors.ts", "src/hub", "src/image", "src/jobs"],
    ...["src/models"],
    ...["src/observe", "src/onnx", "src/schema", "src/storage", "workers/runtime", "workers/take-jobs.ts"],
    ...["workers/train/components.ts", "ioredis", "pino", "prom-client"],
  ],
  "workers/train": [
    ...[
      "src/config",
      "src/diffusion",
      "src/errors.ts",
      "src/image",
      "src/jobs",
      "src/models",
      "src/observe",
      "src/onnx",
    ],
    ...["src/schema", "src/storage", "src/training", "workers/runtime", "workers/take-jobs.ts"],
    ...["ioredis", "pino", "prom-client", "sharp", "tar", "yauzl"],
  ],
  "workers/deliver": [
    ...["src/config", "src/errors.ts", "src/jobs", "src/observe", "src/outbound", "src/redis", "src/schema"],
    ...["src/webhooks", "ioredis", "pino", "prom-client"],
  ],
};

/** The files of some folders and what each imports: paths from the root, and packages. Types count too. */
function importsOf(folders: readonly string[]): Map<string, string[]> {
  const imports = new Map<string, string[]>();
  for (const folder of folders) {
    for (const name of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
      if (!name.endsWith(".ts")) continue;
      const file = join(folder, name);
      const text = readFileSync(join(root, file), "utf8");
      const found = [...text.matchAll(/(?:^|\s)(?:import|from)\s*\(?\s*"([^"]+)"/g)].map(([, target]) => target!);
      imports.set(
        file,
        found.map((target) => (target.startsWith(".") ? normalize(join(dirname(file), target)) : target)),
      );
    }
  }
  return imports;
}

const imports = importsOf(["src", "workers"]);

/** The row of the table that a file belongs to. */
const roomOf = (file: string) => (file in ALLOWED ? file : file.split("/").slice(0, 2).join("/"));

const within = (target: string, allowed: string) => target === allowed || target.startsWith(`${allowed}/`);

test("every file lies in a folder of the table, and imports what the table allows", () => {
  for (const [file, targets] of imports) {
    const room = roomOf(file);
    const allowed = ALLOWED[room];
    assert.ok(allowed !== undefined, `${file} is in no folder of the table`);
    for (const target of targets) {
      const fits = target.startsWith("node:") || within(target, room) || allowed.some((one) => within(target, one));
      assert.ok(fits, `${file} must not import ${target}`);
    }
  }
});

test("the table allows nothing that nobody needs", () => {
  for (const [room, allowed] of Object.entries(ALLOWED)) {
    const targets = [...imports].filter(([file]) => roomOf(file) === room).flatMap(([, all]) => all);
    for (const one of allowed) {
      assert.ok(
        targets.some((target) => within(target, one)),
        `${room} does not import ${one}`,
      );
    }
  }
});

test("the README says the same", () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  for (const [room, allowed] of Object.entries(ALLOWED)) {
    const row = readme.split("\n").find((line) => line.startsWith(`| \`${room}\` |`));
    assert.ok(row !== undefined, `the README has no row for ${room}`);
    const said = [...(row.split("|")[3] ?? "").matchAll(/`([^`]+)`/g)].map(([, name]) => name);
    const own = allowed.filter((one) => one.startsWith("src/") || one.startsWith("workers/"));
    assert.deepEqual(said.sort(), own.toSorted(), `the README's row for ${room}`);
  }
});

test("nothing imports itself, by whatever way", () => {
  const all = importsOf(["src", "workers", "demo", "check", "bench"]);
  const done = new Set<string>();
  const way: string[] = [];
  const walk = (file: string) => {
    if (done.has(file)) return;
    assert.ok(!way.includes(file), `a cycle: ${[...way.slice(way.indexOf(file)), file].join(" → ")}`);
    way.push(file);
    for (const target of all.get(file) ?? []) if (all.has(target)) walk(target);
    way.pop();
    done.add(file);
  };
  for (const file of all.keys()) walk(file);
});

test("only workers/runtime/runtime.ts imports onnxruntime-node, only the queue and take-jobs.ts BullMQ", () => {
  for (const [file, targets] of imports) {
    if (targets.includes("onnxruntime-node")) assert.equal(file, "workers/runtime/runtime.ts");
    if (targets.includes("bullmq")) assert.match(file, /^(src\/jobs\/queue|workers\/take-jobs)\.ts$/);
  }
});

test("nothing imports the processes", () => {
  for (const [file, targets] of imports) {
    for (const target of targets) {
      assert.doesNotMatch(target, /^(start|src\/gateway\/server|workers\/\w+\/main)\.ts$/, file);
    }
  }
});

test("no two files export different things by one name", () => {
  const EXPORT = /^export (?:async )?(?:abstract )?(?:function\*?|const|class|interface|type) (\w+)/gm;
  const homes = new Map<string, string>();
  for (const file of imports.keys()) {
    for (const [, name] of readFileSync(join(root, file), "utf8").matchAll(EXPORT)) {
      if (name === "SchedulerName") continue; // the schema is called as the type of what it takes
      const home = homes.get(name!) ?? file;
      assert.equal(file, home, `${name} is exported by two files`);
      homes.set(name!, file);
    }
  }
});

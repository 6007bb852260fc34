import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..");

/** Each file of the project and what it imports: paths from the root, and packages. Types count too. */
const imports = new Map<string, string[]>();
for (const folder of ["src", "workers"]) {
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

/** Fails for each import of a file under `folder` that `allowed` does not take. */
function arrows(folder: string, allowed: (target: string) => boolean): void {
  const files = [...imports].filter(([file]) => file.startsWith(folder));
  assert.ok(files.length > 0, `${folder} is empty`);
  for (const [file, targets] of files) {
    for (const target of targets) assert.ok(allowed(target), `${file} must not import ${target}`);
  }
}

const isNode = (target: string) => target.startsWith("node:");
const isPackage = (target: string) => !isNode(target) && !target.startsWith("src/") && !target.startsWith("workers/");

test("the graph builder imports nothing but itself", () => {
  arrows("src/onnx/", (target) => target.startsWith("src/onnx/"));
});

test("the networks import the graph builder, and Node to read checkpoints", () => {
  arrows("src/models/", (target) => /^src\/(models|onnx)\//.test(target) || isNode(target) || target === "zod");
});

test("diffusion never imports the runtime, the worker or the service", () => {
  arrows(
    "src/diffusion/",
    (target) =>
      !/^(workers|src\/(gateway|jobs|redis|storage|webhooks|outbound)\/|onnxruntime|bullmq|ioredis)/.test(target),
  );
});

test("annotators never import the runtime, the worker or the service", () => {
  arrows("src/annotators/", (target) =>
    /^src\/(annotators|image|onnx|models)\/|^src\/diffusion\/model\.ts$|^node:|^zod$/.test(target),
  );
});

test("the gateway imports no tensors and no runtime", () => {
  arrows("src/gateway/", (target) => !/^(workers|src\/(onnx|models|diffusion)|onnxruntime)/.test(target));
});

test("a worker knows no HTTP", () => {
  arrows("workers/", (target) => !/^(src\/gateway|fastify|@fastify|node:http)/.test(target));
});

test("only workers/runtime/runtime.ts imports onnxruntime-node, only src/jobs/queue.ts and workers/take-jobs.ts BullMQ", () => {
  for (const [file, targets] of imports) {
    if (targets.includes("onnxruntime-node")) assert.equal(file, "workers/runtime/runtime.ts");
    if (targets.includes("bullmq")) assert.match(file, /^(src\/jobs\/queue|workers\/take-jobs)\.ts$/);
  }
});

test("nothing imports the processes: start.ts, and the gateway's server.ts", () => {
  for (const [file, targets] of imports) {
    for (const target of targets) assert.doesNotMatch(target, /^(start|src\/gateway\/server)\.ts$/, file);
    assert.ok(
      targets.every((target) => !isPackage(target) || !target.startsWith("/")),
      file,
    );
  }
});

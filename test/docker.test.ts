/** What can be told of the Docker files without a daemon to build them. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { parseYaml } from "@redocly/openapi-core";
import { validate } from "dockerfile-utils";
import { temporaryFolder } from "./support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const root = join(import.meta.dirname, "..");
const read = (path: string) => readFileSync(join(root, path), "utf8");
const dockerfiles = readdirSync(join(root, "docker")).map((name) => `docker/${name}`);

/** The packages that `npm ci --omit=dev` installs, by their folder. */
function installed(): string[] {
  const { packages } = JSON.parse(read("package-lock.json")) as { packages: Record<string, { dev?: boolean }> };
  return Object.keys(packages).filter((path) => /^node_modules\/(@[^/]+\/)?[^/]+$/.test(path) && !packages[path]!.dev);
}

describe("each Dockerfile", () => {
  for (const path of dockerfiles) {
    const text = read(path);

    test(`${path} has nothing that its linter knows to be wrong`, () => {
      assert.deepEqual(
        validate(text).map(({ message, range }) => `line ${range.start.line + 1}: ${message}`),
        [],
      );
    });

    test(`${path} copies all that its process is made of`, async () => {
      const image = await temporaryFolder(stack);
      const ignored = read(".dockerignore").split("\n");
      for (const [, sources, target] of text.matchAll(/^COPY (?!--)(.+) (\S+)$/gm)) {
        for (const source of sources!.split(" ")) {
          assert.ok(ignored.includes(`!${source.split("/")[0]}`), `.dockerignore leaves ${source} out`);
          const copy = target!.endsWith("/") ? join(target!, basename(source)) : target!;
          cpSync(join(root, source), join(image, copy), { recursive: true });
        }
      }
      const [, removed] = /rm -r (.*?) (?:\\|\/root)/.exec(text)!;
      for (const path of installed()) {
        if (removed!.split(" ").includes(path)) continue;
        mkdirSync(dirname(join(image, path)), { recursive: true });
        symlinkSync(join(root, path), join(image, path));
      }
      const [, command] = /^CMD (\[.*\])$/m.exec(text)!;
      const [node, ...args] = JSON.parse(command!) as string[];
      assert.equal(node, "node");
      const { status, stderr } = spawnSync(process.execPath, args, { cwd: image, env: {}, encoding: "utf8" });
      assert.match(stderr, /^REDIS_URL is not set/, "it comes as far as its settings");
      assert.equal(status, 1);
    });
  }
});

describe("the compose files", () => {
  interface Service {
    build?: { dockerfile: string };
    environment?: Record<string, string>;
    command?: string;
  }
  const files = ["docker-compose.yml", "docker-compose.gpu.yml"];
  const services = files.flatMap((file) => {
    const { services } = parseYaml(read(file)) as { services: Record<string, Service> };
    return Object.values(services);
  });

  test("build every Dockerfile that there is, and no other", () => {
    const built = services.flatMap(({ build }) => (build === undefined ? [] : [build.dockerfile]));
    assert.deepEqual(built.toSorted(), dockerfiles.toSorted());
  });

  test("set no variable that the service does not know", () => {
    const known = read("src/config/config.ts");
    for (const name of services.flatMap(({ environment = {} }) => Object.keys(environment))) {
      assert.match(known, new RegExp(`^  ${name}:`, "m"));
    }
  });

  test("pass on every setting but those that an image has, or that name a file of this machine", () => {
    const ofImages = [
      "PORT",
      "HOST",
      "MODELS_DIR",
      "DATA_DIR",
      "EXECUTION_PROVIDER",
      "API_KEYS",
      "API_KEYS_FILE",
      "DATASETS_DIR",
      "C2PA_CERT",
      "C2PA_KEY",
    ];
    const settings = [...read("src/config/config.ts").matchAll(/^ {2}([A-Z0-9_]+):(?!.*;$)/gm)].map(
      ([, name]) => name!,
    );
    const [worker] = services.filter(({ build }) => build?.dockerfile === "docker/worker.Dockerfile");
    assert.deepEqual(
      Object.keys(worker!.environment!).toSorted(),
      settings.filter((name) => !ofImages.includes(name)).toSorted(),
    );
  });

  test("have Redis write to disk what it answers for", () => {
    const [redis] = services.filter(({ command }) => command?.startsWith("redis-server"));
    assert.match(redis!.command!, / --appendonly yes --appendfsync always /);
  });

  const client = spawnSync("docker", ["compose", "version"]).status === 0;
  test("are valid for docker compose", { skip: !client && "no docker compose here" }, () => {
    const args = ["compose", ...files.flatMap((file) => ["-f", file]), "config", "--quiet"];
    execFileSync("docker", args, { cwd: root, env: { ...process.env, API_KEYS: "me:0123456789abcdef" } });
  });
});

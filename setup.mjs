// Installs what is missing before `npm start` and `npm test`: the packages of the lock file, redis-server, and for the tests Chromium.
// Plain JavaScript that an old Node (20) can run: the newer one is among the packages.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = import.meta.dirname;

if (!packagesAreCurrent()) {
  console.log("setup: installing the packages of package-lock.json …");
  // The runtime's install script fetches CUDA libraries; who wants them sets ONNXRUNTIME_NODE_INSTALL=1 or so.
  const env = { ONNXRUNTIME_NODE_INSTALL: "skip", ...process.env };
  const { status } = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    env,
    stdio: "inherit",
  });
  if (status !== 0) fail("npm ci failed");
}
// The tests need a redis-server of their own whatever REDIS_URL says.
const tests = process.env.npm_lifecycle_event !== "prestart";
if ((tests || !process.env.REDIS_URL) && !works("redis-server", "--version") && !install("redis-server")) {
  fail(
    "redis-server is missing: install it (apt-get install redis-server, brew install redis), or set REDIS_URL for npm start",
  );
}
// Whether Chromium is there is asked as test/support/browser.ts asks: by its name in PATH.
if (tests && !["chromium", "google-chrome"].some((name) => works(name, "--version")) && !install("chromium")) {
  console.error(
    "setup: the tests of the page need a browser: apt-get install chromium, or brew install --cask chromium",
  );
}

/** Whether node_modules holds each package of the lock file (but for those of other platforms) in its version. */
function packagesAreCurrent() {
  try {
    const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
    const present = JSON.parse(readFileSync(join(root, "node_modules/.package-lock.json"), "utf8")).packages;
    return Object.entries(wanted).every(
      ([path, { version, optional }]) => path === "" || optional || present[path]?.version === version,
    );
  } catch {
    return false;
  }
}

/** Installs a package by apt-get where that is allowed. Returns whether it is there now. */
function install(name) {
  const asRoot = process.getuid?.() === 0 ? [] : works("sudo", "-n", "true") ? ["sudo", "-n"] : undefined;
  if (asRoot === undefined || !works("apt-get", "--version")) return false;
  console.log(`setup: installing ${name} with apt-get …`);
  const command = [...asRoot, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q", name];
  return run(command) || (run([...asRoot, "apt-get", "update", "-q"]) && run(command));
}

function run([command, ...args]) {
  return spawnSync(command, args, { stdio: "inherit" }).status === 0;
}

function works(command, ...args) {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0;
}

function fail(message) {
  console.error(`setup: ${message}`);
  process.exit(1);
}

/** A package of this repository as who installs it gets it: packed, and unpacked in a folder of its own, without network. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { temporaryFolder } from "./processes.ts";

const modules = join(import.meta.dirname, "../../node_modules");
const run = promisify(execFile);

/** As in a shell: without what `npm test` tells the npm that runs in it. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("npm_")));

const manifestOf = (folder: string) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));

/** The names of the packages that one needs, and those need. */
function needsOf(folder: string, found = new Set<string>()): Set<string> {
  for (const name of Object.keys(manifestOf(folder).dependencies ?? {})) {
    if (found.has(name)) continue;
    found.add(name);
    needsOf(join(modules, name), found);
  }
  return found;
}

/** @returns the folder where it is installed; what it needs of the registry is there already, as node_modules has it */
export async function installPacked(stack: AsyncDisposableStack, folder: string): Promise<string> {
  const cwd = await temporaryFolder(stack);
  await writeFile(join(cwd, "package.json"), '{ "private": true, "type": "module" }');
  for (const name of needsOf(folder)) {
    await cp(join(modules, name), join(cwd, "node_modules", name), { recursive: true });
  }
  await run("npm", ["pack", "--pack-destination", cwd], { cwd: folder, env });
  const { name, version } = manifestOf(folder);
  const install = ["install", "--offline", "--no-audit", "--no-fund", `./${name}-${version}.tgz`];
  await run("npm", install, { cwd, env });
  return cwd;
}

/** Of "v20.1.0": 20. */
const majorOf = (version: string) => Number(version.slice(1).split(".")[0]);

/** The oldest Node that the PATH leads to: the one that has installed the packages, where it is not the packages' own. */
export async function oldestNode(): Promise<{ path: string; version: string }> {
  const paths = [process.execPath, ...(process.env.PATH ?? "").split(":").map((folder) => join(folder, "node"))];
  const asked = paths.map(async (path) => {
    const { stdout } = await run(path, ["--version"]).catch(() => ({ stdout: "" }));
    return { path, version: stdout.trim() };
  });
  const there = (await Promise.all(asked)).filter(({ version }) => version !== "");
  return there.reduce((a, b) => (majorOf(b.version) < majorOf(a.version) ? b : a));
}

/** A package of this repository as who installs it gets it: packed, and unpacked in a folder of its own, without network. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { temporaryFolder } from "./processes.ts";

const modules = join(import.meta.dirname, "../../node_modules");
const run = promisify(execFile);

/** As in a shell: without what `npm test` tells the npm that runs in it. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("npm_")));

const manifestOf = (folder: string) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));

/** Folders of the packages that one needs, and those need. */
function needsOf(folder: string, found = new Set<string>()): Set<string> {
  for (const name of Object.keys(manifestOf(folder).dependencies ?? {})) {
    const at = join(modules, name);
    if (found.has(at)) continue;
    found.add(at);
    needsOf(at, found);
  }
  return found;
}

/** @returns the folder where it is installed; the registry's packages that it needs are packed out of node_modules */
export async function installPacked(stack: AsyncDisposableStack, folder: string): Promise<string> {
  const cwd = await temporaryFolder(stack);
  await writeFile(join(cwd, "package.json"), '{ "private": true, "type": "module" }');
  const pack = async (folders: string[], ...more: string[]): Promise<string[]> => {
    const args = ["pack", "--json", "--pack-destination", cwd, ...more, ...folders];
    const { stdout } = await run("npm", args, { cwd: folder, env });
    return JSON.parse(stdout.slice(stdout.indexOf("[\n"))).map(({ filename }: { filename: string }) => `./${filename}`);
  };
  const packed = await Promise.all([pack([]), pack([...needsOf(folder)], "--ignore-scripts")]);
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", ...packed.flat()], { cwd, env });
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

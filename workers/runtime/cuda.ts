/** Which libraries of CUDA the runtime's own provider needs here, where they lie, and what brings those that are missing. */

import { spawnSync } from "node:child_process";
import { createReadStream, existsSync, globSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

const PROVIDER = "libonnxruntime_providers_cuda.so";

/** The runtime's provider for CUDA, which its npm package does not bring; null = it is not installed. */
export function providerFile(): string | null {
  const root = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
  const file = join(root, "bin/napi-v6", process.platform, process.arch, PROVIDER);
  return existsSync(file) ? file : null;
}

/** Names of shared libraries of NVIDIA's, as a provider's file has them in its list of what it needs. */
const LIBRARY = /lib(?:cublasLt|cublas|cudart|cudnn|cufft|curand|nvrtc)\.so\.\d+/g;
const LONGEST_NAME = 64;

/** A tool that says nothing for so long will not: a card may hang. */
const SMI_MS = 10_000;

/** Those that a provider's file names: "libcudnn.so.9". */
export async function librariesNeeded(file: string): Promise<string[]> {
  const found = new Set<string>();
  let before = "";
  for await (const chunk of createReadStream(file, { encoding: "latin1", highWaterMark: 2 ** 22 })) {
    const text = before + chunk;
    for (const [name] of text.matchAll(LIBRARY)) found.add(name);
    before = text.slice(-LONGEST_NAME);
  }
  return [...found].sort();
}

/** Where the loader looks, and where CUDA is put besides: its own folder, and Python's packages of it. */
function folders(env: NodeJS.ProcessEnv): string[] {
  const listed = spawnSync("ldconfig", ["-p"], { encoding: "utf8" }).stdout ?? "";
  const known = [...listed.matchAll(/=> (\S+)$/gm)].map(([, path]) => dirname(path!));
  const roots = [env.CUDA_HOME, env.CUDA_PATH, "/usr/local/cuda", ...globSync("/usr/local/cuda-*")];
  const pythons = [env.VIRTUAL_ENV, env.CONDA_PREFIX, join(homedir(), ".local"), "/usr/local", "/usr"];
  const given = (path: string | undefined): path is string => path !== undefined && path !== "";
  return [
    ...(env.LD_LIBRARY_PATH ?? "").split(":"),
    ...known,
    ...roots.filter(given).flatMap((root) => [join(root, "lib64"), join(root, "targets/x86_64-linux/lib")]),
    ...pythons.filter(given).flatMap((root) => globSync(join(root, "lib/python3*/*-packages/nvidia/*/lib"))),
  ].filter((folder, i, all) => folder !== "" && existsSync(folder) && all.indexOf(folder) === i);
}

export interface Libraries {
  readonly missing: readonly string[];
  /** Folders that the others lie in, for LD_LIBRARY_PATH. */
  readonly folders: readonly string[];
}

/** @param needed names of libraries */
export function findLibraries(needed: readonly string[], env: NodeJS.ProcessEnv): Libraries {
  const places = new Map<string, string>();
  for (const folder of folders(env)) {
    const files = new Set(readdirSync(folder));
    for (const name of needed) {
      if (files.has(name) && !places.has(name)) places.set(name, folder);
    }
  }
  return { missing: needed.filter((name) => !places.has(name)), folders: [...new Set(places.values())] };
}

/** What the runtime's provider needs, and what of it is there; null = it is not installed. */
export async function lookForCuda(env: NodeJS.ProcessEnv): Promise<(Libraries & { needed: readonly string[] }) | null> {
  const file = providerFile();
  if (file === null) return null;
  const needed = await librariesNeeded(file);
  return { needed, ...findLibraries(needed, env) };
}

/**
 * What NVIDIA's own tool says of the first card that CUDA may use; null where the tool or the card is not there. CUDA may number
 * several cards otherwise than the tool: GPU_DEVICES can name them by UUID.
 * @param query as "name,memory.total"
 */
export function askCard(query: string, env: NodeJS.ProcessEnv): string | null {
  const first = env.CUDA_VISIBLE_DEVICES?.split(",")[0]?.trim();
  const one = first === undefined || first === "" ? [] : [`--id=${first}`];
  const options = [`--query-gpu=${query}`, "--format=csv,noheader", ...one];
  const { status, stdout } = spawnSync("nvidia-smi", options, { encoding: "utf8", env, timeout: SMI_MS });
  return status === 0 ? stdout.split("\n")[0]! : null;
}

/** Bytes of that card's memory; null where they are not known. */
export function cardBytes(env: NodeJS.ProcessEnv): number | null {
  const mebibytes = Number.parseInt(askCard("memory.total", env) ?? "", 10); // "24576 MiB"
  return Number.isNaN(mebibytes) ? null : mebibytes * 2 ** 20;
}

/** The command that brings libraries of this name, on Debian and Ubuntu with NVIDIA's repository. */
export function bringing(library: string, needed: readonly string[]): string {
  const cuda = needed.map((name) => /^lib(?:cublas|cudart)\w*\.so\.(\d+)$/.exec(name)?.[1]).find(Boolean) ?? "13";
  return library.startsWith("libcudnn")
    ? `apt-get install libcudnn${library.split(".so.")[1]}-cuda-${cuda}`
    : `apt-get install cuda-libraries-${cuda}-0`;
}

/** `npm start -- --gpu`: what a worker needs on an NVIDIA card, installed and found, or the reason why it cannot be had. */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { ConfigError } from "../../src/errors.ts";
import { bringing, lookForCuda, providerFile } from "./cuda.ts";

/** Fetches the runtime's own CUDA package (from NuGet) with the script that its npm package has for it. */
function installProvider(): void {
  const root = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
  // "cuda12" is what the script calls its only package for CUDA, whichever version that is built for.
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: "cuda12" };
  const { status } = spawnSync(process.execPath, [join(root, "script/install.js")], {
    cwd: root,
    env,
    stdio: "inherit",
  });
  if (status !== 0 || providerFile() === null) {
    throw new ConfigError(
      "--gpu: the runtime's CUDA package could not be fetched from api.nuget.org; it is there for Linux on x64 alone",
    );
  }
}

/**
 * What is to be set for workers: the provider, where its libraries lie, and the card.
 * @throws ConfigError that names what is missing, and the command that brings it
 */
export async function gpuSettings(env: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  if (providerFile() === null) installProvider();
  const { needed, missing, folders } = (await lookForCuda(env))!;
  if (missing.length > 0) {
    const commands = new Set(missing.map((name) => bringing(name, needed)));
    throw new ConfigError(
      `--gpu: ${missing.join(", ")} cannot be found; on Debian and Ubuntu: ${[...commands].join(" && ")}`,
    );
  }
  const path = [...folders, ...(env.LD_LIBRARY_PATH ?? "").split(":").filter((folder) => folder !== "")];
  return { EXECUTION_PROVIDER: "cuda", LD_LIBRARY_PATH: path.join(":") };
}

/** One worker for each card of GPU_DEVICES ("0,1"); without it one that sees them all and takes the first. */
export const cardsOf = (devices: string | undefined): readonly NodeJS.ProcessEnv[] =>
  devices === undefined || devices === ""
    ? [{}]
    : devices.split(",").map((device) => ({ CUDA_VISIBLE_DEVICES: device.trim() }));

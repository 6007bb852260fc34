import { closeSync, existsSync, readdirSync, readFileSync, readSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { otherThing } from "./recognize-bytes.ts";
import { openRegularFile } from "./regular-file.ts";
import { CheckpointError, headerLength, LENGTH_BYTES, parseHeader } from "./safetensors.ts";
import type { WeightSource } from "./weights.ts";

/** A network's weights: all tensors lie in files of one folder, which a graph's external data needs. */
export interface Checkpoint {
  readonly folder: string;
  readonly tensors: ReadonlyMap<string, WeightSource>;
}

/** A file's tensors, and what its writer says of it. */
export interface CheckpointFile extends Checkpoint {
  readonly metadata: Readonly<Record<string, string>>;
}

/** Suffixes that hold pickled Python objects: loading one runs whatever code it carries. */
const PICKLES = [".bin", ".ckpt", ".pt", ".pth"];

const HEAD_BYTES = 256;

/** The header's length, from a file's first bytes. @throws CheckpointError that says what the file is instead, where that shows */
function lengthOf(head: Buffer, size: number): number {
  try {
    return headerLength(head.subarray(0, LENGTH_BYTES), size);
  } catch (error) {
    const other = otherThing(head, size);
    throw other === null ? error : new CheckpointError(other, { cause: error });
  }
}

/**
 * The tensors of one safetensors file. Links are resolved, because a Hugging Face cache is made of links and the runtime
 * follows none that leave the folder.
 * @throws CheckpointError when the file is not sound.
 */
export function readCheckpoint(file: string): CheckpointFile {
  if (!existsSync(file)) {
    throw new CheckpointError(`${basename(file)} is missing`);
  }
  const real = realpathSync(file);
  const { descriptor, size } = openRegularFile(real);
  try {
    const start = Buffer.alloc(HEAD_BYTES);
    const head = start.subarray(0, readSync(descriptor, start, 0, HEAD_BYTES, 0));
    const json = new Uint8Array(lengthOf(head, size));
    readSync(descriptor, json, 0, json.length, LENGTH_BYTES);
    const location = basename(real);
    const header = parseHeader(json, size);
    const tensors = new Map([...header.tensors].map(([name, tensor]) => [name, { ...tensor, location }]));
    return { folder: dirname(real), tensors, metadata: header.metadata };
  } catch (error) {
    throw error instanceof CheckpointError ? new CheckpointError(`${basename(file)}: ${error.message}`) : error;
  } finally {
    closeSync(descriptor);
  }
}

/** A checkpoint in several files, from its index: `{weight_map: {tensor: file}}`. */
function readShards(index: string): Checkpoint {
  const refusal = (reason: string) => new CheckpointError(`${basename(index)}: ${reason}`);
  const { weight_map: map } = readJson(index) as { weight_map?: unknown };
  const entries: [string, unknown][] = typeof map === "object" && map !== null ? Object.entries(map) : [];
  if (entries.length === 0) {
    throw refusal("no weight_map, or an empty one");
  }
  const shards = new Map<string, Checkpoint>();
  const tensors = new Map<string, WeightSource>();
  for (const [tensor, file] of entries) {
    if (typeof file !== "string" || file !== basename(file) || !file.endsWith(".safetensors")) {
      throw refusal(`${JSON.stringify(file)} is not a safetensors file of the same folder`);
    }
    const shard = shards.get(file) ?? readCheckpoint(join(dirname(index), file));
    shards.set(file, shard);
    const source = shard.tensors.get(tensor);
    if (source === undefined) {
      throw refusal(`${file} does not have the tensor "${tensor}"`);
    }
    tensors.set(tensor, source);
  }
  const [folder, ...others] = new Set([...shards.values()].map((shard) => shard.folder));
  if (others.length > 0) {
    throw refusal(`its ${shards.size} files lie in different folders`);
  }
  return { folder: folder!, tensors };
}

/** Whether any file that an index names is there. */
function hasShards(index: string): boolean {
  const { weight_map: map } = readJson(index) as { weight_map?: Record<string, unknown> };
  return Object.values(map ?? {}).some((file) => existsSync(join(dirname(index), String(file))));
}

const hasHalf = (dir: string, stem: string) => existsSync(join(dir, `${stem}.fp16.safetensors`));

/** Variants beside the plain weights and the half-precision ones, such as "non_ema". */
function otherVariants(dir: string, stem: string): string[] {
  const names = existsSync(dir) ? readdirSync(dir) : [];
  const variants = names.flatMap((name) => {
    const [start, variant, ...rest] = name.split(".");
    const isWhole = start === stem && /^safetensors(\.index\.json)?$/.test(rest.join("."));
    return isWhole && variant !== undefined && variant !== "fp16" ? [variant] : [];
  });
  return [...new Set(variants)];
}

/**
 * The weights in a component's folder of the diffusers layout: one file, several, or the half-precision variant; where there are neither,
 * those of the only variant there is.
 * @param stem "diffusion_pytorch_model", or "model" for a text encoder
 */
export function findCheckpoint(dir: string, stem: string): Checkpoint {
  const others = otherVariants(dir, stem);
  for (const variant of ["", ".fp16", ...(others.length === 1 ? [`.${others[0]}`] : [])]) {
    const file = join(dir, `${stem}${variant}.safetensors`);
    if (existsSync(file)) {
      return readCheckpoint(file);
    }
    // transformers writes model.safetensors.index.fp16.json, diffusers ….safetensors.index.fp16.json or the reverse.
    for (const name of [`${stem}${variant}.safetensors.index.json`, `${stem}.safetensors.index${variant}.json`]) {
      // The index of files that are not there is stale where another variant is.
      if (existsSync(join(dir, name)) && (variant !== "" || !hasHalf(dir, stem) || hasShards(join(dir, name)))) {
        return readShards(join(dir, name));
      }
    }
  }
  if (others.length > 1) {
    throw new CheckpointError(
      `${basename(dir)} has the variants ${others.join(", ")}: name the one that is meant ${stem}.safetensors`,
    );
  }
  const files = existsSync(dir) ? readdirSync(dir) : [];
  const pickle = files.find((name) => PICKLES.some((suffix) => name.endsWith(suffix)));
  throw new CheckpointError(
    pickle === undefined
      ? `no weights: ${basename(dir)}/${stem}.safetensors is missing`
      : `${basename(dir)}/${pickle} is a pickle, which can run code; only .safetensors files are loaded: save it as ${stem}.safetensors`,
  );
}

function readText(file: string): string {
  const { descriptor } = openRegularFile(file);
  try {
    return readFileSync(descriptor, "utf8");
  } finally {
    closeSync(descriptor);
  }
}

/** @throws CheckpointError when the file is missing or not a JSON object. */
export function readJson(file: string): object {
  const name = join(basename(dirname(file)), basename(file));
  if (!existsSync(file)) {
    throw new CheckpointError(`${name} is missing`);
  }
  let json: unknown;
  try {
    // Python writes a bare -Infinity into scheduler_config.json (lambda_min_clipped), where it is the default.
    json = JSON.parse(readText(file).replaceAll(/:\s*-Infinity\b/g, ": null"));
  } catch (cause) {
    throw new CheckpointError(`${name} is not JSON`, { cause });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new CheckpointError(`${name} is not a JSON object`);
  }
  return json;
}

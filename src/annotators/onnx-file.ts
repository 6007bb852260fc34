import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, sep } from "node:path";
import type { Graph } from "../models/graph.ts";
import { type ModelHeader, readModelHeader } from "../onnx/header.ts";
import { OnnxError } from "../onnx/wire.ts";

/** A network as a folder has it: what it takes and gives, and its graph when it is to be run. */
export interface StoredNetwork extends Pick<ModelHeader, "inputs" | "outputs"> {
  graph(): Graph;
  /** What its weights take in memory. */
  readonly weightBytes: number;
}

/** A protobuf message is at most this long; larger weights lie beside the model. */
const LONGEST_MODEL = 2 ** 31;

/**
 * Opens an ONNX file by its header alone. Links are resolved, because a Hugging Face cache is made of links and the runtime follows
 * none that leave the folder.
 * @throws OnnxError when the file is not sound, or asks for other files than those beside it
 */
export function openOnnx(path: string): StoredNetwork {
  const name = basename(path);
  if (!existsSync(path)) throw new OnnxError(`${name} is missing`);
  const file = realpathSync(path);
  const descriptor = openSync(file, "r");
  try {
    const { size } = fstatSync(descriptor);
    if (size >= LONGEST_MODEL) throw new OnnxError(`${size} bytes are too many for an ONNX file`);
    const header = readModelHeader({
      size,
      read(offset, length) {
        const bytes = new Uint8Array(length);
        return bytes.subarray(0, readSync(descriptor, bytes, 0, length, offset));
      },
    });
    checkExternal(header, dirname(file));
    const { inputs, outputs, weightBytes } = header;
    return { inputs, outputs, weightBytes, graph: () => ({ bytes: readFileSync(file), folder: dirname(file) }) };
  } catch (error) {
    throw error instanceof OnnxError ? new OnnxError(`${name}: ${error.message}`) : error;
  } finally {
    closeSync(descriptor);
  }
}

/** Every file of weights must lie in the folder of the model, and be as long as is said. */
function checkExternal({ external }: ModelHeader, folder: string): void {
  const sizes = new Map<string, number>();
  for (const { location, offset, length } of external) {
    if (!sizes.has(location)) {
      const beside = join(folder, location);
      if (!existsSync(beside)) throw new OnnxError(`its weights lie in ${location}, which is missing`);
      if (!realpathSync(beside).startsWith(folder + sep)) {
        throw new OnnxError(`its weights lie in ${location}, which leads out of the folder`);
      }
      sizes.set(location, statSync(beside).size);
    }
    if (offset + length > sizes.get(location)!) {
      throw new OnnxError(
        `its weights end at byte ${offset + length} of ${location}, which has ${sizes.get(location)}`,
      );
    }
  }
}

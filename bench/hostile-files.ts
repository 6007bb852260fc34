/** Files of strangers made bad in 20,000 ways: each gives one error of one kind, and the process lives. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CheckpointError } from "../src/models/safetensors.ts";
import { readTorchFile } from "../src/models/torch-file.ts";
import { readModelHeader } from "../src/onnx/header.ts";
import { OnnxError } from "../src/onnx/wire.ts";
import { mutated } from "../test/mutate.ts";
import { CPU, openSession } from "../workers/runtime/runtime.ts";
import { temporaryFolder } from "./folders.ts";
import { printTable } from "./table.ts";

const FIXTURES = join(import.meta.dirname, "../test/fixtures/annotators");
const TRIALS = 5000;

/** What became of each damaged file: refused by the reader, by the runtime, or whole after all. */
type Outcome = "refused" | "not loaded" | "whole";

async function onnx(file: Uint8Array): Promise<Outcome> {
  try {
    readModelHeader({ size: file.length, read: (offset, length) => file.subarray(offset, offset + length) });
  } catch (error) {
    if (error instanceof OnnxError) return "refused";
    throw error;
  }
  try {
    await (await openSession({ bytes: file, folder: FIXTURES }, CPU)).release();
    return "whole";
  } catch {
    return "not loaded";
  }
}

function torchFile(folder: string): (file: Uint8Array) => Promise<Outcome> {
  const path = join(folder, "damaged.pth");
  return async (file) => {
    writeFileSync(path, file);
    try {
      readTorchFile(path);
      return "whole";
    } catch (error) {
      if (error instanceof CheckpointError) return "refused";
      throw error;
    }
  };
}

export async function run(): Promise<void> {
  const pth = torchFile(temporaryFolder("hostile-files"));
  const subjects = [
    ["weights/tiny-zip.pth", pth],
    ["weights/tiny-legacy.pth", pth],
    ["neural/hed/model.onnx", onnx],
    ["neural/mlsd/model.onnx", onnx],
  ] as const;
  const rows: string[][] = [];
  for (const [name, tried] of subjects) {
    const good = readFileSync(join(FIXTURES, name));
    const counts = { refused: 0, "not loaded": 0, whole: 0 };
    for (let seed = 0; seed < TRIALS; seed++) counts[await tried(mutated(good, seed))] += 1;
    rows.push([name, ...Object.values(counts).map(String)]);
  }
  printTable([`damaged ${TRIALS} times`, "refused by the reader", "by the runtime", "whole after all"], rows);
}

/** Files of strangers made bad in 20,000 ways: each gives one error of one kind, and the process lives. */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { CheckpointError } from "../src/models/safetensors.ts";
import { readTorchFile } from "../src/models/torch-file.ts";
import { mutated } from "../test/mutate.ts";
import { type DamagedOutcome, tryDamaged } from "../test/support/damaged-onnx.ts";
import { temporaryFolder } from "./folders.ts";
import { printTable } from "./table.ts";

const FIXTURES = join(import.meta.dirname, "../test/fixtures/annotators");
/** Large files take longer to change. */
const ONNX = [
  ["neural/hed/model.onnx", 2500],
  ["neural/mlsd/model.onnx", 2500],
  ["neural/pidinet/model.onnx", 2500],
  ["neural/dwpose/yolox_l.onnx", 1000],
  ["neural/dwpose/dw-ll_ucoco_384.onnx", 500],
  ["neural/lineart/model.onnx", 500],
  ["neural/segformer/onnx/model.onnx", 200],
  ["neural/vitpose/onnx/model.onnx", 200],
  ["neural/dpt/onnx/model.onnx", 100],
] as const;

/** A file that is whole after all, with other weights, runs. */
type Outcome = DamagedOutcome;

/** The largest input of the networks: one of a size of their own is run at it. */
const MOST = 640;

const onnx = (name: string) => (file: Uint8Array) => tryDamaged(file, dirname(join(FIXTURES, name)), MOST);

function torchFile(folder: string): (file: Uint8Array) => Promise<Outcome> {
  const path = join(folder, "damaged.pth");
  return async (file) => {
    writeFileSync(path, file);
    try {
      readTorchFile(path);
      return "run";
    } catch (error) {
      if (error instanceof CheckpointError) return "refused";
      throw error;
    }
  };
}

export async function run(): Promise<void> {
  const pth = torchFile(temporaryFolder("hostile-files"));
  const files = [
    ...["zip", "legacy"].map((way) => [`weights/tiny-${way}.pth`, 5000, pth] as const),
    ...ONNX.map(([name, trials]) => [name, trials, onnx(name)] as const),
  ];
  const rows: string[][] = [];
  for (const [name, trials, tried] of files) {
    const good = readFileSync(join(FIXTURES, name));
    const counts: Record<Outcome, number> = { refused: 0, "not loaded": 0, "not run": 0, run: 0 };
    for (let seed = 0; seed < trials; seed++) counts[await tried(mutated(good, seed))] += 1;
    rows.push([name, trials, ...Object.values(counts)].map(String));
  }
  printTable(["file", "damaged", "refused by the reader", "by the runtime", "when run", "run, or read"], rows);
}

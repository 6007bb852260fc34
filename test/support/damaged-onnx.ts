/** What becomes of a damaged ONNX file: the header's reader refuses it, or the runtime does, or it is run. */
import { readModelHeader } from "../../src/onnx/header.ts";
import { OnnxError } from "../../src/onnx/wire.ts";
import { CPU, openSession } from "../../workers/runtime/runtime.ts";

export type DamagedOutcome = "refused" | "not loaded" | "not run" | "run";

/** The largest side that an input is given, and that of one whose size is open; of open batches one alone. */
const MOST = 64;

/** @param folder of the file, where its weights may lie @throws whatever is no error of one of the two */
export async function tryDamaged(file: Uint8Array, folder: string, most = MOST): Promise<DamagedOutcome> {
  let header: ReturnType<typeof readModelHeader>;
  try {
    const read = (offset: number, length: number) => file.subarray(offset, offset + length);
    header = readModelHeader({ size: file.length, read });
  } catch (error) {
    if (error instanceof OnnxError) return "refused";
    throw error;
  }
  const session = await openSession({ bytes: file, folder }, CPU).catch((error: unknown) => {
    if (!(error instanceof Error)) throw error;
    return null;
  });
  if (session === null) return "not loaded";
  const feeds = header.inputs.map(({ name, shape }) => {
    const dims = shape.map((dim, i) => (typeof dim === "number" ? Math.min(dim, most) : i === 0 ? 1 : MOST));
    return [name, { dims, data: new Float32Array(dims.reduce((a, b) => a * b, 1)) }];
  });
  const ran = await session.run(Object.fromEntries(feeds)).then(
    () => "run" as const,
    () => "not run" as const,
  );
  await session.release();
  return ran;
}

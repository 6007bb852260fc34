/** What a worker computes on: the execution provider that is asked for, tried out before anything relies on it, or the reason why not. */
import { PLAIN } from "../../src/models/graph.ts";
import { attention } from "../../src/onnx/attention.ts";
import { build } from "../../src/onnx/build.ts";
import { half } from "../../src/onnx/half.ts";
import { conv, matmul } from "../../src/onnx/operators.ts";
import { quantizedConvolution, quantizedProduct } from "../../src/onnx/quantize.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { constant, input, type Value } from "../../src/onnx/value.ts";
import { bringing, lookForCuda, providerFile } from "./cuda.ts";
import { CPU, CPU_INT8, openSession, type Provider } from "./runtime.ts";

const waves = (...dims: number[]): Tensor & { data: Float32Array } => ({
  dims,
  data: Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(12.9898 * i)),
});
const weights = (...dims: number[]) => constant("float32", dims, waves(...dims).data);

interface Trial {
  readonly x: Tensor;
  readonly of: (x: Value) => Value;
}

/** What every network is made of, each over made-up numbers [1, 64, 32] or [1, 8, 16, 16]. */
const TRIALS = {
  attention: { x: waves(1, 64, 32), of: (x: Value) => attention(x, x, x, 4) },
  "matrix product": { x: waves(1, 64, 32), of: (x: Value) => matmul(x, weights(32, 48)) },
  convolution: { x: waves(1, 8, 16, 16), of: (x: Value) => conv(x, weights(8, 8, 3, 3), weights(8)) },
} as const;

/** How far two computations of the same may lie apart: TensorFloat-32 has 10 bits. */
const CLOSE = 2e-2;

/** @throws Error with the runtime's own words when no session can be made on the provider here */
async function compute(provider: Provider, { x, of }: Trial): Promise<Float32Array> {
  const value = input("x", "float32", x.dims);
  const whole = { inputs: [value], outputs: { y: of(value) } };
  const { inputs, outputs } = provider.half ? half(whole) : whole;
  const session = await openSession({ bytes: build(inputs, outputs), folder: "." }, provider);
  try {
    return (await session.run({ x })).y!.data as Float32Array;
  } finally {
    await session.release();
  }
}

const apart = (a: Float32Array, b: Float32Array) =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);

/** Which library CUDA lacks here, and what brings it, looked for only after it has failed: that reads its whole file; else its own words. */
async function whyNotCuda(error: Error): Promise<string> {
  const { needed, missing } = (await lookForCuda(process.env))!;
  const [first] = missing;
  return first === undefined ? error.message : `${first} is missing: ${bringing(first, needed)}`;
}

/** @throws Error that says why an accelerator does not work on this machine, or computes something else than the CPU */
async function tryOut(name: string, inHalf: boolean): Promise<Provider> {
  if (name === "cuda" && providerFile() === null) {
    throw new Error("the runtime's CUDA package is not installed: npm start -- --gpu installs it");
  }
  // An accelerator's own convolutions choose their algorithm.
  const options = { executionProviders: [name, "cpu"] };
  const provider = { ...PLAIN, name: inHalf ? `${name}, float16` : name, options, half: inHalf, joint: true };
  const right: Record<string, boolean> = {};
  for (const [what, trial] of Object.entries(TRIALS)) {
    const made = await compute(provider, trial).catch(async (cause) => {
      throw name === "cuda" ? new Error(await whyNotCuda(cause)) : cause;
    });
    const error = apart(made, await compute(CPU, trial));
    right[what] = error < CLOSE;
    if (!right[what] && what !== "attention") throw new Error(`its ${what} is off by ${error.toPrecision(2)}`);
  }
  // WebGPU's attention is off by a tenth on a software renderer; whoever gets it wrong gets the plain form.
  return { ...provider, fusedAttention: right.attention! };
}

const ones = (...dims: number[]) => ({ dims, data: waves(...dims).data.fill(1) });
const weightOfOnes = (...dims: number[]) => constant("float32", dims, ones(...dims).data);
const SUM = 64;

/** Both are sums of SUM products of the largest numbers that 8 bits hold, which stand for ones. */
const INT8_TRIALS = {
  product: { x: ones(SUM, SUM), of: (x: Value) => quantizedProduct(x, weightOfOnes(SUM, SUM), null) },
  convolution: {
    x: ones(1, SUM, 8, 8),
    of: (x: Value) =>
      quantizedConvolution(x, weightOfOnes(SUM, SUM, 1, 1), constant("float32", [SUM], Array(SUM).fill(0)), "trial"),
  },
} as const;

/** @throws Error where sums of two products are clipped to 16 bits, as processors of x86 without VNNI do: pictures would be wrong */
async function tryOutInt8(): Promise<Provider> {
  for (const [what, trial] of Object.entries(INT8_TRIALS)) {
    const sums = await compute(CPU_INT8, trial);
    if (sums.some((sum) => Math.abs(sum / SUM - 1) > CLOSE)) {
      throw new Error(
        `PRECISION=int8 does not work on this machine: its processor clips a ${what} in 8 bits; one with VNNI does not`,
      );
    }
  }
  return CPU_INT8;
}

export interface Choice {
  readonly provider: Provider;
  /** Why `auto` is on the CPU; null when nothing else was asked for, or it works. */
  readonly reason: string | null;
}

/**
 * The provider that EXECUTION_PROVIDER names; `auto` takes CUDA where it works, else the CPU. PRECISION int8 is the CPU's alone,
 * float16 the accelerators'.
 * @throws Error when the one that is named does not work here, and why
 */
export async function chooseProvider(
  name: string,
  precision: "float32" | "int8" | "float16" = "float32",
): Promise<Choice> {
  if (precision === "int8") {
    if (name === "cpu" || name === "auto") return { provider: await tryOutInt8(), reason: null };
    throw new Error(`PRECISION=int8 is computed on the CPU alone: EXECUTION_PROVIDER=${name} must be cpu or auto`);
  }
  const inHalf = precision === "float16";
  if (inHalf && name === "cpu") {
    throw new Error("PRECISION=float16 is for accelerators: EXECUTION_PROVIDER=cpu must be cuda, webgpu or auto");
  }
  if (name === "cpu") return { provider: CPU, reason: null };
  try {
    return { provider: await tryOut(name === "auto" ? "cuda" : name, inHalf), reason: null };
  } catch (error) {
    const reason = (error as Error).message;
    if (name === "auto" && inHalf) throw new Error(`PRECISION=float16 needs an accelerator: ${reason}`);
    if (name === "auto") return { provider: CPU, reason };
    throw new Error(`EXECUTION_PROVIDER=${name} does not work on this machine: ${reason}`);
  }
}

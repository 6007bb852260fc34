/** Which of several forms of the same computation a graph has: a runtime may be slow in one, or wrong. */
export interface GraphChoices {
  /** Large convolutions by fewer multiplications (src/onnx/winograd.ts): for a runtime that would compute them directly. */
  readonly winograd: boolean;
  /** Attention as one operator, which need not write down every token's weight for every other. */
  readonly fusedAttention: boolean;
  /** What of a U-Net and a ControlNet gains by it in 8 bits (src/onnx/quantize.ts): quicker, and no longer exact. */
  readonly int8: boolean;
  /** U-Nets and ControlNets in float16 where that does no harm (src/onnx/half.ts): for accelerators, and no longer exact. */
  readonly half: boolean;
}

/** What every runtime computes rightly, and float32 throughout. */
export const PLAIN: GraphChoices = { winograd: false, fusedAttention: true, int8: false, half: false };

/** An ONNX model, and the folder that its weights' file names are relative to. */
export interface Graph {
  readonly bytes: Uint8Array;
  readonly folder: string;
  /** Those files, below `folder`; absent = they lie in it, and are those that the graph names. */
  readonly files?: readonly string[];
}

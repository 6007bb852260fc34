/** An ONNX model, and the folder that its weights' file names are relative to. */
export interface Graph {
  readonly bytes: Uint8Array;
  readonly folder: string;
}

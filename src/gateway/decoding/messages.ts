/** What the gateway and a process that decodes (process.ts) say to each other. */

export interface ToDecoder {
  bytes: Uint8Array;
  /** Of an image with more pixels the header alone is read; 0 = of every one. */
  mostPixels: number;
  /** How much processor time it may take. */
  cpuMs: number;
}

export type FromDecoder =
  | { type: "size"; width: number; height: number }
  /** `message` is for the client. */
  | { type: "refused"; message: string }
  /** It still decodes what has taken too long: it is of no more use. */
  | { type: "late" };

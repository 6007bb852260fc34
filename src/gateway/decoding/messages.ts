/** What the gateway and a process that decodes (process.ts) say to each other. */

/** What can be made of an image that decodes: a PNG, or null where there is nothing to make (src/image/mask-forms.ts). */
export type MakerName = "maskOfAlpha" | "invertedMask";

export type Task =
  /** Whether it decodes. Of an image with more pixels the header alone is read; 0 = of every one. */
  { type: "check"; mostPixels: number } | { type: "make"; maker: MakerName };

export type ToDecoder = Task & {
  bytes: Uint8Array;
  /** How much processor time it may take. */
  cpuMs: number;
};

export type FromDecoder =
  | { type: "size"; width: number; height: number }
  | { type: "made"; bytes: Uint8Array | null }
  /** `message` is for the client. */
  | { type: "refused"; message: string }
  /** It still decodes what has taken too long: it is of no more use. */
  | { type: "late" };

/** In pixels of the canvas, which it may leave. */
export interface KeyPoint {
  readonly x: number;
  readonly y: number;
}

/** Points of one part in OpenPose's order; one that is missing is null. */
export type KeyPoints = readonly (KeyPoint | null)[];

/** Points of the body: 18; of a hand: 21; of a face: 68, or 70 with the pupils. A part that was not looked for is null. */
export interface Person {
  readonly body: KeyPoints | null;
  readonly leftHand: KeyPoints | null;
  readonly rightHand: KeyPoints | null;
  readonly face: KeyPoints | null;
}

/** The people in a picture of `width` × `height` pixels. */
export interface Pose {
  readonly width: number;
  readonly height: number;
  readonly people: readonly Person[];
}

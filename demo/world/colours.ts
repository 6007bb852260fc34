/** The colours that captions name, as they are by day. */
export const COLOURS = {
  red: [214, 52, 48],
  orange: [242, 138, 38],
  yellow: [248, 212, 64],
  green: [70, 164, 76],
  blue: [56, 108, 212],
  purple: [142, 78, 184],
  pink: [246, 150, 188],
  white: [246, 244, 238],
  brown: [132, 84, 52],
  grey: [136, 140, 148],
  black: [42, 42, 52],
} as const;
export type Colour = keyof typeof COLOURS;

/** Red, green and blue, 0 … 255. */
export type Rgb = readonly [number, number, number];

export const HOURS = ["day", "sunset", "night"] as const;
export type Hour = (typeof HOURS)[number];

/** What the light of an hour makes of a colour: a factor a channel, and what is added. */
const LIGHT: Readonly<Record<Hour, readonly [Rgb, Rgb]>> = {
  day: [
    [1, 1, 1],
    [0, 0, 0],
  ],
  sunset: [
    [0.97, 0.88, 0.84],
    [8, 2, 4],
  ],
  night: [
    [0.68, 0.66, 0.76],
    [2, 6, 26],
  ],
};

const byte = (value: number) => Math.round(Math.min(Math.max(value, 0), 255));

export function lit([red, green, blue]: Rgb, hour: Hour): Rgb {
  const [factor, added] = LIGHT[hour];
  return [byte(red * factor[0] + added[0]), byte(green * factor[1] + added[1]), byte(blue * factor[2] + added[2])];
}

/** A colour made lighter (above 1) or darker. */
export function shade([red, green, blue]: Rgb, factor: number): Rgb {
  return [byte(red * factor), byte(green * factor), byte(blue * factor)];
}

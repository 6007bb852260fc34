/** The loss of a training, as CSV and as a picture. */

export interface StepRecord {
  /** From 1. */
  readonly step: number;
  readonly loss: number;
  readonly learning_rate: number;
  /** The gradient's length before clipping. */
  readonly grad_norm: number;
}

const COLUMNS = ["step", "loss", "learning_rate", "grad_norm"] as const satisfies readonly (keyof StepRecord)[];

export const CSV_HEAD = `${COLUMNS.join(",")}\n`;
export const csvLine = (record: StepRecord) => `${COLUMNS.map((name) => record[name]).join(",")}\n`;

/** @returns the steps up to `last`; a line that a kill cut short is left out */
export function parseCsv(text: string, last: number): StepRecord[] {
  const lines = text.slice(0, text.lastIndexOf("\n")).split("\n").slice(1);
  const records = lines.map((line) => {
    const values = line.split(",").map(Number);
    return Object.fromEntries(COLUMNS.map((name, i) => [name, values[i]])) as unknown as StepRecord;
  });
  return records.filter(({ step }) => step <= last);
}

const [WIDTH, HEIGHT, MARGIN] = [800, 400, 50];
/** Points of the drawn line: each the mean of the steps that share it, because single losses scatter. */
const POINTS = 100;

/** An SVG of the mean loss over the steps. */
export function curve(records: readonly StepRecord[]): string {
  const group = Math.max(1, Math.ceil(records.length / POINTS));
  const means = Array.from({ length: Math.ceil(records.length / group) }, (_, i) => {
    const part = records.slice(i * group, (i + 1) * group);
    return { step: part.at(-1)!.step, loss: part.reduce((sum, { loss }) => sum + loss, 0) / part.length };
  });
  const last = means.at(-1)?.step ?? 1;
  const highest = Math.max(...means.map(({ loss }) => loss), Number.MIN_VALUE);
  const x = (step: number) => MARGIN + (step / last) * (WIDTH - 2 * MARGIN);
  const y = (loss: number) => HEIGHT - MARGIN - (loss / highest) * (HEIGHT - 2 * MARGIN);
  const points = means.map(({ step, loss }) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
  const label = (at: string, text: string | number) =>
    `<text ${at} font-family="sans-serif" font-size="13">${text}</text>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    `<path d="M${MARGIN} ${MARGIN}V${HEIGHT - MARGIN}H${WIDTH - MARGIN}" fill="none" stroke="black"/>`,
    `<polyline points="${points}" fill="none" stroke="#1f77b4" stroke-width="2"/>`,
    label(`x="${MARGIN}" y="${MARGIN - 12}"`, "loss"),
    label(`x="${MARGIN - 8}" y="${MARGIN + 5}" text-anchor="end"`, highest.toPrecision(2)),
    label(`x="${MARGIN - 8}" y="${HEIGHT - MARGIN + 5}" text-anchor="end"`, 0),
    label(`x="${WIDTH - MARGIN}" y="${HEIGHT - MARGIN + 20}" text-anchor="end"`, `${last} steps`),
    "</svg>",
  ].join("\n");
}

/** How figures are printed: tables for docs/benchmarks.md, below the machine and the day that they are of. */
import { cpus, totalmem } from "node:os";

export const gb = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
/** @param value seconds */
export const duration = (value: number) => (value < 1 ? `${(1000 * value).toFixed(1)} ms` : `${value.toFixed(2)} s`);

export function printMachine(): void {
  const [date] = new Date().toISOString().split("T");
  const processor = `${cpus().length} × ${cpus()[0]?.model}, ${gb(totalmem())} of memory`;
  console.log(`\n${processor}, Node ${process.versions.node}, ${date}`);
}

export function printTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  const line = (columns: readonly (string | number)[]) => console.log(`| ${columns.join(" | ")} |`);
  console.log();
  line(head);
  line(head.map(() => "---"));
  for (const row of rows) line(row);
}

/** The value that this share of the values, 0 to 1, does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(share * values.length) - 1)] ?? Number.NaN;
}

export const median = (values: readonly number[]) => quantile(values, 0.5);

/** Median, 99th percentile and maximum of milliseconds. */
export function spread(values: readonly number[]): string[] {
  return [0.5, 0.99, 1].map((share) => quantile(values, share).toFixed(1));
}

/** How figures are printed: tables for the README, below the machine and the day that they are of. */
import { cpus } from "node:os";

export function printMachine(): void {
  console.log(
    `\n${cpus().length} × ${cpus()[0]?.model}, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}`,
  );
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

/** Median, 99th percentile and maximum of milliseconds. */
export function spread(values: readonly number[]): string[] {
  return [0.5, 0.99, 1].map((share) => quantile(values, share).toFixed(1));
}

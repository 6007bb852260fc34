/** What a person sees while models are fetched: a bar where there is a terminal, else a line for every tenth of it. */
import { basename } from "node:path";
import type { Hub } from "./hub.ts";
import type { PullListener } from "./pull.ts";

const WIDTH = 30;
const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

export function inBytes(bytes: number): string {
  const unit = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1);
  return `${(bytes / 1000 ** unit).toFixed(unit === 0 ? 0 : 1)} ${UNITS[unit]}`;
}

const bar = (share: number) => "█".repeat(Math.round(share * WIDTH)).padEnd(WIDTH, "░");

/** @param say writes one line */
export function progress(hub: Hub, say: (line: string) => void): PullListener {
  const started = performance.now();
  let tenths = 0;
  let shown = -1;
  let first: number | undefined;
  return {
    onChosen({ name, commit, license, files: all }, { shelf, files }) {
      const bytes = files.reduce((sum, { size }) => sum + size, 0);
      const [all_, own] = [all.length, files.length];
      say(`${name} (${shelf}) at ${commit.slice(0, 12)}: ${own} of its ${all_} files, ${inBytes(bytes)}`);
      say(`license: ${license ?? "not said"} (${hub.page(name)})`);
    },
    onBytes({ path }, have, total) {
      if (have === shown) return;
      shown = have;
      first ??= have;
      const share = total === 0 ? 1 : have / total;
      const seconds = (performance.now() - started) / 1000;
      const line = `${bar(share)} ${inBytes(have)} of ${inBytes(total)}, ${inBytes((have - first) / seconds)}/s  ${basename(path)}`;
      if (process.stdout.isTTY) {
        process.stdout.write(`\r\x1b[K${line}${have === total ? "\n" : ""}`);
      } else if (have === total || share * 10 >= tenths + 1) {
        tenths = Math.floor(share * 10);
        say(line);
      }
    },
  };
}

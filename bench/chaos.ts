/** What the service keeps of its promises while its processes are killed and stand still and its disk is full: npm run bench chaos. */
import { chaos } from "../test/support/chaos.ts";
import { printTable } from "./table.ts";

export async function run(): Promise<void> {
  const generations = Number(process.env.GENERATIONS ?? 2000);
  const report = await chaos({
    generations,
    clients: 16,
    killEveryMs: 1000,
    killForMs: Number.POSITIVE_INFINITY,
    freezeMs: 8000, // longer than a dead worker's lock lives
    fillDisk: true,
    memory: { gateway: 2 ** 30, worker: 2 ** 31 },
  });
  const listed = (counts: Record<string, number>) => Object.entries(counts).map(([kind, count]) => `${count} ${kind}`);
  const rows: [string, string | number][] = [
    ["generations", report.generations],
    ["seconds", report.seconds.toFixed(0)],
    ["kills (SIGKILL)", listed(report.kills).join(", ")],
    ["stood still (SIGSTOP, SIGCONT), or was full", listed(report.froze).join(", ")],
    ["not tried here", report.untried.join("; ")],
    ["generations taken over", report.takeovers],
    ["slowest, s", (report.slowestMs / 1000).toFixed(1)],
    ["lost", report.lost.length],
    ["duplicate generations", report.duplicates],
    ["pictures other than without chaos", report.otherPictures.length],
    ["webhooks received", report.webhooks],
    ["generations no webhook told of", report.untold.length],
    ["told by more than one id, or differently", report.toldTwice.length],
    ["signatures that do not verify", report.badSignatures],
    ["generations whose events are not each there once, in order", report.otherEvents.length],
    ["processes that ended without being killed", report.died.length],
  ];
  printTable(["chaos", ""], rows);
  const { lost, otherPictures, untold, toldTwice, otherEvents, died } = report;
  const broken = [lost, otherPictures, untold, toldTwice, otherEvents, died].flat();
  if (broken.length + report.badSignatures + report.duplicates > 0) {
    console.error(JSON.stringify(report, null, 1));
    process.exitCode = 1;
  }
}

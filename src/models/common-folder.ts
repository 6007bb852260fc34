import { sep } from "node:path";

/** The nearest folder that both lie in. */
export function commonFolder(a: string, b: string): string {
  const [ours, theirs] = [a.split(sep), b.split(sep)];
  const shared = ours.findIndex((part, i) => part !== theirs[i]);
  return (shared < 0 ? ours : ours.slice(0, shared)).join(sep) || sep;
}

/** What MODELS_DIR/annotators holds: folders of networks that read maps from pictures, opened but not loaded. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type AnnotatorFolder, openAnnotatorFolder } from "./folder.ts";
import { type Kind, kinds } from "./kinds.ts";
import { NORMAL_OUTPUT } from "./normal.ts";

export interface AnnotatorLibrary {
  readonly folders: ReadonlyMap<string, AnnotatorFolder>;
  /** What could not be opened, and why. */
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
}

/**
 * Never throws for what a folder holds.
 * @param known what was open before stays so: its networks may be loaded
 */
export function openAnnotators(dir: string, known?: AnnotatorLibrary): AnnotatorLibrary {
  const folders = new Map<string, AnnotatorFolder>();
  const skipped: { path: string; reason: string }[] = [];
  for (const name of existsSync(dir) ? readdirSync(dir).sort() : []) {
    if (name.startsWith(".")) continue;
    const path = join(dir, name);
    try {
      if (!statSync(path).isDirectory())
        throw new Error("not a folder; each annotator's networks lie in one of their own");
      folders.set(name, known?.folders.get(name) ?? openAnnotatorFolder(path));
    } catch (error) {
      skipped.push({ path, reason: (error as Error).message });
    }
  }
  return { folders, skipped };
}

/** A map of normals beside depth is not in every network of that kind. */
function serves(annotator: string, { kind, networks }: AnnotatorFolder): boolean {
  const all: readonly string[] = kinds[kind].annotators;
  if (!all.includes(annotator)) return false;
  return annotator !== "normal_metric3d" || networks.model!.outputs.some(({ name }) => name === NORMAL_OUTPUT);
}

/** Names of annotators that need a network's files. */
export const FILED_ANNOTATORS: readonly string[] = [
  ...new Set((Object.values(kinds) as Kind[]).flatMap(({ annotators }) => annotators)),
];

/** The folders that an annotator can use, by name: it takes the first one unless a request names another. */
export const foldersFor = (annotator: string, { folders }: AnnotatorLibrary): string[] =>
  [...folders].flatMap(([name, folder]) => (serves(annotator, folder) ? [name] : []));

/** Where the files of an annotator are published, in words for the user: one line for each kind of network that serves it. */
export const publishedFor = (annotator: string): string[] =>
  (Object.values(kinds) as Kind[]).flatMap(({ annotators, published }) =>
    annotators.includes(annotator) ? [published] : [],
  );

/** What is said to whoever asks for an annotator whose files are not there. */
export function missingFiles(annotator: string): string {
  const [name] = Object.entries(kinds as Record<string, Kind>).find(([, kind]) => kind.annotators.includes(annotator))!;
  const places = publishedFor(annotator).join("; or ");
  return `the annotator "${annotator}" needs a network that is not in MODELS_DIR/annotators, as in annotators/${name}/: ${places}`;
}

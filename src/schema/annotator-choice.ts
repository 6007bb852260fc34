/** How a request names an annotator: by its name alone, or with parameters. */
import { z } from "zod";
import { ANNOTATORS, type AnnotatorName, type AnnotatorParams, type AnnotatorRow, OTHER_NAMES } from "./annotators.ts";
import { INSTEAD } from "./annotators-elsewhere.ts";
import { closed, MOST_SHOWN } from "./closed.ts";
import { isSlip } from "./field-names.ts";
import {
  isNetworkAnnotator,
  NETWORK_ANNOTATORS,
  type NetworkAnnotatorName,
  type NetworkAnnotatorParams,
} from "./network-annotators.ts";
import { withoutNulls } from "./nulls.ts";

/** An annotator with all of its parameters. */
export type AnnotatorChoice =
  | { [N in AnnotatorName]: { name: N; params: AnnotatorParams<N> } }[AnnotatorName]
  | { [N in NetworkAnnotatorName]: { name: N; params: NetworkAnnotatorParams<N> } }[NetworkAnnotatorName];
/** One that runs no network. */
export type PlainChoice = Extract<AnnotatorChoice, { name: AnnotatorName }>;
export type NetworkChoice = Extract<AnnotatorChoice, { name: NetworkAnnotatorName }>;

export const isNetworkChoice = (choice: AnnotatorChoice): choice is NetworkChoice => isNetworkAnnotator(choice.name);

/** Every annotator, by its name. */
export const ALL_ANNOTATORS: Readonly<Record<string, AnnotatorRow>> = { ...ANNOTATORS, ...NETWORK_ANNOTATORS };

const namesOf = (name: string) => [name, ...(OTHER_NAMES[name] ?? [])];
const ALL_NAMES = Object.keys(ALL_ANNOTATORS).flatMap(namesOf);
const OWN_NAMES = new Map(Object.keys(ALL_ANNOTATORS).flatMap((name) => namesOf(name).map((other) => [other, name])));

type Option = z.ZodObject<{ name: z.ZodLiteral<string>; params: z.ZodType }>;
const options = (optionOf: (name: string, row: AnnotatorRow) => z.ZodObject) =>
  Object.entries(ALL_ANNOTATORS).map(([name, row]) => optionOf(name, row)) as unknown as [Option, Option];

const WHICH = "Which annotator, from GET /v1/annotators.";
const SETTINGS = "Its parameters; what is absent is as GET /v1/annotators says.";

const withParams = z.discriminatedUnion(
  "name",
  options((name, { description, params }) =>
    closed({
      name: z
        .enum(namesOf(name) as [string, ...string[]])
        .transform(() => name)
        .describe(WHICH),
      params: params.prefault({}).describe(SETTINGS),
    }).describe(description),
  ),
);

/** What is wrong with the parameters of one that there is; else the message for what is neither a name nor a name with parameters. */
function wrongAnnotator(input: unknown, ofParameters: readonly z.core.$ZodIssue[] = []): string {
  const name = typeof input === "object" && input !== null ? (input as { name?: unknown }).name : input;
  const forms = 'must be the name of an annotator, or {"name": …, "params": {…}}';
  if (typeof name !== "string") return forms;
  if (OWN_NAMES.has(name)) return ofParameters.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; ");
  const shown = name.slice(0, MOST_SHOWN);
  const instead = Object.hasOwn(INSTEAD, shown) ? INSTEAD[shown] : undefined;
  if (instead !== undefined) return `there is no annotator "${shown}": ${instead}`;
  const near = ALL_NAMES.find((known) => isSlip(shown, known));
  return `there is no annotator "${shown}"${near === undefined ? "" : `, the nearest known one is "${near}"`}; GET /v1/annotators lists them`;
}

const byName = z
  .enum(ALL_NAMES as [string, ...string[]])
  .transform((name) => withParams.parse({ name }))
  .meta({ id: "AnnotatorName", description: WHICH });

/** As it is sent. */
export const SentAnnotator = z
  .union([byName, withParams], { error: (issue) => wrongAnnotator(issue.input, issue.errors?.[1]) })
  .meta({
    id: "AnnotatorChoice",
    description: "An annotator: its name, or its name with parameters.",
  }) as unknown as z.ZodType<AnnotatorChoice, unknown>;

/** As it is carried out. */
export const KeptAnnotator = z
  .discriminatedUnion(
    "name",
    options((name, { description, params }) =>
      closed({ name: z.literal(name).describe(WHICH), params: params.describe(SETTINGS) }).describe(description),
    ),
  )
  .meta({
    id: "Annotator",
    description: "An annotator with all of its parameters.",
  }) as unknown as z.ZodType<AnnotatorChoice>;

/** An annotator by its name, with the parameters that are given and its defaults. */
export function chooseAnnotator(name: string, params: object = {}): AnnotatorChoice {
  const choice = { name: OWN_NAMES.get(name) ?? name, params };
  return withParams.parse(withoutNulls(withParams, choice)) as unknown as AnnotatorChoice;
}

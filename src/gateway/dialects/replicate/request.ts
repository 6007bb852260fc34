/** What a client of Replicate sends as a prediction, as a generation: `input` is our request. */
import { z } from "zod";
import { Refused } from "../../../errors.ts";
import type { Catalog } from "../../../schema/catalog.ts";
import { closed } from "../../../schema/closed.ts";
import { meantInGeneration } from "../../../schema/field-names.ts";
import { GenerationInput } from "../../../schema/generation-request.ts";
import { withoutNulls } from "../../../schema/nulls.ts";
import type { Webhook } from "../../../schema/webhook.ts";
import { REPLICATE } from "../../../webhooks/prediction.ts";
import { detailOf, fieldErrors } from "../issues.ts";

/** What Replicate tells of a prediction, and what that is here; undefined = it is not told by webhook. */
const EVENTS = {
  start: ["started"],
  output: ["succeeded"],
  logs: undefined,
  completed: ["succeeded", "failed", "canceled"],
} as const satisfies Record<string, readonly z.infer<typeof Webhook>["events"][number][] | undefined>;
const EventName = z.enum(Object.keys(EVENTS) as (keyof typeof EVENTS)[]);

export const PredictionBody = closed({
  input: z.record(z.string(), z.unknown()),
  version: z.string().min(1).max(400).nullish(),
  model: z.string().min(1).max(400).nullish(),
  webhook: z.string().max(2000).nullish(),
  webhook_events_filter: z.array(EventName).min(1).nullish(),
  /** Every prediction can be followed. */
  stream: z.boolean().nullish(),
});
export type PredictionBody = z.infer<typeof PredictionBody>;

const { model: _model, webhook: _webhook, response: _response, ...fields } = GenerationInput.shape;
/** What stands elsewhere, and where. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  model: "which model is said by the address, or by version",
  version: "it stands beside input",
  webhook: "it stands beside input",
  webhook_events_filter: "it stands beside input",
  response: "output is a list of addresses here",
};
/** What `input` may say. */
export const ReplicateInput = closed(fields, (name, known) =>
  Object.hasOwn(ELSEWHERE, name) ? ELSEWHERE[name]! : meantInGeneration("")(name, known),
);

export function invalidInput(path: string, message: string): Refused {
  return new Refused(422, "invalid_request", `${path}: ${message}`, [{ path, message }]);
}

/**
 * The id of the base model of `owner/name`, `owner/name:version` or a version: any owner is taken, and the one version of a
 * model is called like it.
 * @throws {Refused}
 */
export function modelOf(field: string, said: string, { models }: Pick<Catalog, "models">): string {
  const offered = (name: string) => models.some(({ id }) => id === name);
  if (offered(said)) return said;
  const [, name = said, version] = /^[^/]+\/([^:]+)(?::(.+))?$/.exec(said) ?? [];
  const all = models.map(({ id }) => id).join(", ");
  if (!offered(name)) throw invalidInput(field, `there is no model "${name}"; there are ${all}`);
  if (version === undefined || version === name) return name;
  throw invalidInput(field, `there is no version "${version}" of "${name}": its only one is "${name}"`);
}

/** The request. @throws {Refused} naming what is wrong below `input` */
export function readInput(body: PredictionBody, model: string, publicUrl: string): GenerationInput {
  const own = new RegExp(`^${publicUrl.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")}${REPLICATE}/files/(\\w+)$`);
  const named = withoutNulls(ReplicateInput, ownFiles(body.input, own));
  const known = ReplicateInput.safeParse(named);
  if (!known.success) throw refusalOf(known.error, () => true);
  const { data, error } = GenerationInput.safeParse({ ...known.data, model, webhook: webhookOf(body) });
  if (error !== undefined) throw refusalOf(error, (path) => !path.startsWith("webhook"));
  return data;
}

/** What was sent, with the addresses of files of this dialect as what they are: uploads. */
function ownFiles(value: unknown, own: RegExp): unknown {
  if (typeof value === "string") return value.replace(own, "upload:$1");
  if (Array.isArray(value)) return value.map((part) => ownFiles(part, own));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, ownFiles(part, own)]));
}

function webhookOf({ webhook, webhook_events_filter: filter }: PredictionBody) {
  if (webhook == null) {
    if (filter == null) return null;
    throw invalidInput("webhook_events_filter", "is for a webhook: there is none");
  }
  if (filter?.includes("logs")) {
    throw invalidInput(
      "webhook_events_filter",
      "logs are not sent by webhook: they are in the prediction, and its stream tells of the end",
    );
  }
  const events = filter == null ? [...EVENTS.start, ...EVENTS.completed] : filter.flatMap((name) => EVENTS[name] ?? []);
  return { url: webhook, events: [...new Set(events)] };
}

/** @param isInput whether a field is one of `input` */
function refusalOf(error: z.ZodError, isInput: (path: string) => boolean): Refused {
  const errors = fieldErrors(error).map(({ path, message }) => ({
    path: !isInput(path) ? "webhook" : path === "" ? "input" : `input.${path}`,
    message,
  }));
  return new Refused(422, "invalid_request", detailOf(errors), errors);
}

/**
 * What linters find in the OpenAPI document: the recommended rules of Redocly and of Spectral, errors and warnings, less the
 * exceptions below.
 */
import { createConfig, lintFromString } from "@redocly/openapi-core";
import spectral, { type RulesetDefinition } from "@stoplight/spectral-core";
import rulesets from "@stoplight/spectral-rulesets";

export interface Finding {
  rule: string;
  /** a JSON pointer into the document */
  at: string;
  message: string;
}

/** What the rules want and this document does without. */
export const EXCEPTIONS: readonly { rule: string; at: RegExp; why: string }[] = [
  { rule: "info-license", at: /^#\/info$/, why: "no license is chosen" },
  { rule: "info-contact", at: /^#\/info$/, why: "whom to ask is known to who runs the service, not to its source" },
  {
    rule: "operation-4xx-response",
    at: /^#\/paths\/~1(health|ready)\//,
    why: "neither reads anything of a request that could be wrong",
  },
  ...["no-unused-components", "oas3-unused-component"].map((rule) => ({
    rule,
    at: /^#\/components\/schemas\/WebhookPayload$/,
    why: "any of the webhooks' bodies, for who receives all at one address",
  })),
];

export async function lintWithRedocly(document: string): Promise<Finding[]> {
  const config = await createConfig({ extends: ["recommended"] });
  const found = await lintFromString({ source: document, absoluteRef: "openapi.json", config });
  return found.map(({ ruleId, message, location }) => ({ rule: ruleId, at: location[0]?.pointer ?? "#/", message }));
}

export async function lintWithSpectral(document: string): Promise<Finding[]> {
  const linter = new spectral.Spectral();
  linter.setRuleset({ extends: [[rulesets.oas as RulesetDefinition, "recommended"]] });
  const escaped = (part: string | number) => String(part).replaceAll("~", "~0").replaceAll("/", "~1");
  const found = await linter.run(JSON.parse(document));
  return found.map(({ code, message, path }) => ({
    rule: String(code),
    at: `#/${path.map(escaped).join("/")}`,
    message,
  }));
}

export const isException = ({ rule, at }: Finding): boolean =>
  EXCEPTIONS.some((exception) => exception.rule === rule && exception.at.test(at));

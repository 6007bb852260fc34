/** An annotator, as `GET /v1/annotators` lists it. */
import { z } from "zod";
import { ALL_ANNOTATORS } from "./annotator-choice.ts";
import { OTHER_NAMES } from "./annotators.ts";
import { Id } from "./fields.ts";
import { MAP_KINDS } from "./map-kinds.ts";

const AnnotatorParameter = z.object({
  name: z
    .string()
    .describe("Its name in `params`.")
    .meta({ examples: ["low_threshold"] }),
  type: z.enum(["number", "integer", "boolean", "string"]).describe("What it takes."),
  default: z
    .union([z.number(), z.boolean(), z.string(), z.null()])
    .describe("What it is when it is absent.")
    .meta({ examples: [100] }),
  minimum: z
    .number()
    .nullable()
    .describe("The least; null = it is no number.")
    .meta({ examples: [0] }),
  maximum: z
    .number()
    .nullable()
    .describe("The most; null = it is no number.")
    .meta({ examples: [2040] }),
  choices: z.array(z.string()).nullable().describe("What it may be; null = it is no choice."),
  nullable: z.boolean().describe("Whether it may be null."),
  description: z
    .string()
    .describe("What it does.")
    .meta({ examples: ["A gradient above it goes an edge on."] }),
});
type AnnotatorParameter = z.infer<typeof AnnotatorParameter>;

export const AnnotatorEntry = z
  .object({
    id: z
      .string()
      .describe("Its name, for `annotator` of a request.")
      .meta({ examples: ["canny"] }),
    object: z.literal("annotator").describe("The type of this object."),
    description: z
      .string()
      .describe("What its maps show.")
      .meta({ examples: ["Edges, white on black."] }),
    other_names: z.array(z.string()).describe("What other programs call it: these names are taken too."),
    input: z
      .enum(["picture", "depth", "masked_picture", "pose"])
      .describe("What it makes a map of; depth = a picture of depth, near = light."),
    feeds: z.array(z.enum(MAP_KINDS)).describe("What its maps are: which kinds of ControlNet read them."),
    controlnets: z.array(Id).describe("Those of this installation that read them, going by their ids."),
    parameters: z.array(AnnotatorParameter).describe("What `params` can hold."),
    needs_network: z.boolean().describe("Whether it runs a network, whose files must be in MODELS_DIR/annotators."),
    networks: z
      .array(z.string())
      .describe("The folders there that it can use, the first unless a request names another."),
    available: z.boolean().describe("Whether it can be used here."),
    published: z.array(z.string()).describe("Where its files are published."),
  })
  .meta({ id: "AnnotatorEntry" });
export type AnnotatorEntry = z.infer<typeof AnnotatorEntry>;

/** The part of a parameter's JSON schema that is told of. */
interface JsonParameter {
  type?: AnnotatorParameter["type"];
  default?: AnnotatorParameter["default"];
  minimum?: number;
  maximum?: number;
  enum?: string[];
  description?: string;
  anyOf?: JsonParameter[];
}

/** Parameters with their defaults and ranges, from the schema that requests are held against. */
function parametersOf(params: z.ZodObject): AnnotatorParameter[] {
  const { properties = {} } = z.toJSONSchema(params, { io: "input" }) as { properties?: Record<string, JsonParameter> };
  return Object.entries(properties).map(([name, property]) => {
    const own = property.anyOf?.find(({ type }) => (type as string) !== "null") ?? property;
    return {
      name,
      type: own.type!,
      default: property.default ?? null,
      minimum: own.minimum ?? null,
      maximum: own.maximum ?? null,
      choices: own.enum ?? null,
      nullable: property.anyOf !== undefined,
      description: property.description ?? "",
    };
  });
}

/** What this release says of each annotator; what an installation has is added to it. */
export const ANNOTATOR_FACTS = Object.entries(ALL_ANNOTATORS).map(([id, { description, input, feeds, params }]) => ({
  id,
  object: "annotator" as const,
  description,
  other_names: [...(OTHER_NAMES[id] ?? [])],
  input,
  feeds: [...feeds],
  parameters: parametersOf(params),
}));

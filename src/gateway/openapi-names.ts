/**
 * Every object, enum and union of the OpenAPI document as a component of its own, with a name: of parts that stand inline
 * generators make types without names, written out wherever they occur.
 */

// biome-ignore lint/suspicious/noExplicitAny: a document of any shape, walked
type Part = any;

/** Names of parts by the component and the field that they stand in; `*` = in any. The others are called by both: `TrainingLrScheduler`. */
const NAMES: Readonly<Record<string, string>> = {
  "*.content_type": "ImageType",
  "*.control_mode": "ControlMode",
  "*.decoder": "Decoder",
  "*.error": "JobError",
  "*.events": "WebhookEvent",
  "*.feeds": "MapKind",
  "*.long_prompt": "LongPrompt",
  "*.lr_scheduler": "LrScheduler",
  "*.output_format": "OutputFormat",
  "*.people": "PosePerson",
  "*.prediction_type": "PredictionType",
  "*.prediction_types": "PredictionType",
  "*.prompt_syntax": "PromptSyntax",
  "*.resize_mode": "ResizeMode",
  "*.response": "ImageDelivery",
  "*.scheduler": "SchedulerName",
  "*.status": "JobStatus",
  "*.timestep_spacing": "TimestepSpacing",
  "*.unavailable": "Unavailable",
  "*.validation": "ValidationPicture",
  "*.webhook": "Webhook",
  "AnnotatorChoiceInput.": "AnnotatorInput",
  "AnnotatorEntry.input": "AnnotatorSource",
  "AnnotatorEntry.parameters": "AnnotatorParameter",
  "CreateGenerationInput.adapters": "AdapterUseInput",
  "CreateGenerationInput.cache": "DeepCacheInput",
  "CreateGenerationInput.controls": "ControlInput",
  "CreateGenerationInput.embeddings": "EmbeddingUseInput",
  "CreateGenerationInput.ip_adapters": "IpAdapterUseInput",
  "CreateGenerationInput.loras": "LoraUseInput",
  "CreateTrainingInput.validation": "ValidationPromptInput",
  "Generation.controls": "ControlMap",
  "GenerationRequest.adapters": "AdapterUse",
  "GenerationRequest.cache": "DeepCache",
  "GenerationRequest.controls": "Control",
  "GenerationRequest.embeddings": "EmbeddingUse",
  "GenerationRequest.ip_adapters": "IpAdapterUse",
  "GenerationRequest.loras": "LoraUse",
  "ModelScheduler.id": "SchedulerName",
  "Scheduler.id": "SchedulerName",
  "TrainingRequest.validation": "ValidationPrompt",
  "WebhookDelivery.status": "DeliveryStatus",
  "WebhookDelivery.type": "WebhookType",
};

const pascal = (words: string) => words.replace(/(?:^|[^A-Za-z0-9]+)([A-Za-z0-9])/g, (_, first) => first.toUpperCase());
const singular = (word: string) => word.replace(/ies$/, "y").replace(/([^s])s$/, "$1");

/** The one text that a property can be; of an enum its first. */
const constantOf = (property: Part): unknown => property?.const ?? property?.enum?.[0];
const allOf = (property: Part): string[] => property.enum ?? [property.const];

/** The property that tells the options of a union apart: a fixed text in each. */
export const discriminatorOf = (options: Part[]): string | undefined =>
  Object.keys(options[0]?.properties ?? {}).find((name) =>
    options.every(({ properties }) => typeof constantOf(properties?.[name]) === "string"),
  );

const isObject = ({ type, properties }: Part) => type === "object" && properties !== undefined;
const isEnum = ({ type, enum: choices }: Part) => type === "string" && choices?.length > 1;
const isUnion = ({ oneOf }: Part) => oneOf?.length > 1 && discriminatorOf(oneOf) !== undefined;

/** A schema without what is said of it where it stands. */
const shapeOf = ({ description: _, examples: __, ...shape }: Part) => JSON.stringify(shape);

/** The components, and what stands inline in them and in the paths moved into components of its own. */
class Components {
  readonly schemas: Record<string, Part>;
  /** Properties that tell a union's options apart: a text where it stands, for openapi-generator takes none that is a component. */
  private readonly telling = new Set<Part>();

  constructor(schemas: Record<string, Part>) {
    this.schemas = schemas;
  }

  /** The same schema with what is in it named. @param owner the component that it stands in @param field the property @param word what one is called */
  named(schema: Part, owner: string, field: string, word = field): Part {
    if (typeof schema !== "object" || schema === null || schema.$ref !== undefined || this.telling.has(schema))
      return schema;
    const deserves = isObject(schema) || isEnum(schema) || isUnion(schema);
    if (!deserves) return this.within(schema, owner, field);
    const wanted = nameOf(owner, field, word, schema);
    return this.moved(wanted, () => this.within(schema, wanted, ""), schema, `${base(owner)}${pascal(wanted)}`);
  }

  /** The schema as a component under its name, or under the longer one where another has that. @returns what refers to it */
  private moved(name: string, make: () => Part, { description, examples }: Part, longer: string): Part {
    const made = make();
    const at = this.schemas[name] === undefined || shapeOf(this.schemas[name]) === shapeOf(made) ? name : longer;
    this.schemas[at] ??= made;
    if (shapeOf(this.schemas[at]) !== shapeOf(made))
      throw new Error(`two schemas would be called ${at}: name one of them`);
    return { $ref: `#/components/schemas/${at}`, ...(description && { description }), ...(examples && { examples }) };
  }

  /** A component of this name. @returns what refers to it */
  put(name: string, schema: Part): Part {
    this.schemas[name] = this.within(schema, name, "");
    return { $ref: `#/components/schemas/${name}` };
  }

  /** The schema with its parts named, and its discriminator where it is a union. */
  within(schema: Part, owner: string, field: string): Part {
    const made = { ...schema };
    const propertyName = schema.oneOf && discriminatorOf(schema.oneOf);
    if (propertyName !== undefined)
      for (const { properties } of schema.oneOf) this.telling.add(properties[propertyName]);
    if (schema.properties !== undefined) {
      const own = Object.entries<Part>(schema.properties);
      made.properties = Object.fromEntries(own.map(([name, property]) => [name, this.named(property, owner, name)]));
    }
    for (const key of ["items", "additionalProperties"]) {
      if (schema[key] !== undefined) made[key] = this.named(schema[key], owner, field, singular(field));
    }
    for (const key of ["anyOf", "oneOf"]) {
      if (schema[key] !== undefined) made[key] = schema[key].map((option: Part) => this.named(option, owner, field));
    }
    if (propertyName === undefined) return made;
    // Bare references, for a description beside one makes it an inline schema to openapi-generator; each component has its own.
    made.oneOf = made.oneOf.map(({ $ref }: Part) => ({ $ref }));
    const values = schema.oneOf.flatMap(({ properties }: Part, i: number) =>
      allOf(properties[propertyName]).map((value) => [value, made.oneOf[i].$ref]),
    );
    return { ...made, discriminator: { propertyName, mapping: Object.fromEntries(values) } };
  }
}

const base = (owner: string) => owner.replace(/^Create/, "").replace(/Input$/, "");

function nameOf(owner: string, field: string, word: string, schema: Part): string {
  const suffix = isObject(schema) && owner.endsWith("Input") ? "Input" : "";
  const said = NAMES[`${owner}.${field}`] ?? NAMES[`*.${field}`];
  if (said !== undefined) return said.endsWith(suffix) ? said : `${said}${suffix}`;
  if (field === "") return `${pascal(String(constantOf(schema.properties.name)))}${owner}`; // an option of a union
  return `${base(owner)}${pascal(word)}${suffix}`;
}

/** A body that stands inline is a list, or a form. */
const bodyName = (operationId: string) =>
  operationId
    .replace(/^list(.*?)(?:(ie)?s)$/, (_, things, y) => `${things}${y ? "y" : ""}List`)
    .replace(/^create(.*)$/, "$1Form");

/** The parts of an operation that stand inline: its parameters, its form, and its lists. */
function nameOperation(components: Components, operation: Part): void {
  for (const parameter of operation.parameters ?? []) {
    parameter.schema = components.named(parameter.schema, "Query", parameter.name);
  }
  const answers = Object.values<Part>(operation.responses);
  const whole = [operation.requestBody, ...answers].flatMap((part) => Object.values<Part>(part?.content ?? {}));
  for (const media of whole.filter(({ schema }) => schema?.properties !== undefined)) {
    media.schema = components.put(bodyName(operation.operationId), media.schema);
  }
}

/** The document with every part named, changed in place. */
export function nameParts({ paths, components: { schemas } }: Part): void {
  const components = new Components(schemas);
  for (const [name, schema] of Object.entries(schemas)) schemas[name] = components.within(schema, name, "");
  for (const path of Object.values<Part>(paths)) {
    for (const operation of Object.values<Part>(path)) nameOperation(components, operation);
  }
}

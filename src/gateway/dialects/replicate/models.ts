/** Base models as Replicate's models, each with one version that is called like it. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../../errors.ts";
import type { Model } from "../../../schema/catalog.ts";
import { closed } from "../../../schema/closed.ts";
import { OWNER } from "../../../webhooks/prediction.ts";
import { readBytes } from "../../held.ts";
import type { Service } from "../../parts.ts";
import { ReplicateInput } from "./request.ts";

const schema = { hide: true, querystring: closed({}) } as const;

/** When what there is was made is not known. */
const UNKNOWN = new Date(0).toISOString();

const inputSchema = z.toJSONSchema(ReplicateInput, { io: "input", unrepresentable: "any" });

const versionOf = ({ id }: Model) => ({
  id,
  created_at: UNKNOWN,
  cog_version: null,
  openapi_schema: { components: { schemas: { Input: inputSchema } } },
});

const modelOf = (model: Model, publicUrl: string) => ({
  url: publicUrl,
  owner: OWNER,
  name: model.id,
  description: `${model.family}, ${model.width}×${model.height}`,
  visibility: "private",
  github_url: null,
  paper_url: null,
  license_url: null,
  run_count: 0,
  cover_image_url: null,
  default_example: null,
  latest_version: versionOf(model),
});

export function models(instance: FastifyInstance, { fleet }: Service): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  const params = z.object({ owner: z.string(), name: z.string() });
  const find = async (name: string) => {
    const model = (await fleet.catalog()).models.find(({ id }) => id === name);
    if (model === undefined) throw new Refused(404, "not_found", `there is no model "${name}"`);
    return model;
  };
  const page = <T>(results: T[]) => ({ previous: null, next: null, results });
  app.get("/models", { schema }, async ({ addresses }) =>
    page((await fleet.catalog()).models.map((model) => modelOf(model, addresses.publicUrl))),
  );
  app.addContentTypeParser("text/plain", async (request: FastifyRequest, body: IncomingMessage) =>
    (await readBytes(request, body)).toString(),
  );
  app.route({
    bodyLimit: 4096,
    method: "QUERY",
    url: "/models",
    schema: { ...schema, body: z.string().max(1000) },
    handler: async ({ addresses, body }) => {
      const words = body.replaceAll('"', "").toLowerCase(); // a client sends it as JSON, and calls it plain text
      const { models: all } = await fleet.catalog();
      const found = all.filter(({ id }) => id.toLowerCase().includes(words));
      return page(found.map((model) => modelOf(model, addresses.publicUrl)));
    },
  });
  const one = { schema: { ...schema, params } };
  app.get("/models/:owner/:name", one, async ({ addresses, params }) =>
    modelOf(await find(params.name), addresses.publicUrl),
  );
  app.get("/models/:owner/:name/versions", one, async ({ params }) => page([versionOf(await find(params.name))]));
  const ofVersion = { ...schema, params: params.extend({ version: z.string() }) };
  app.get("/models/:owner/:name/versions/:version", { schema: ofVersion }, async ({ params: { name, version } }) => {
    const model = await find(name);
    if (version === model.id) return versionOf(model);
    throw new Refused(404, "not_found", `there is no version "${version}" of "${name}": its only one is "${model.id}"`);
  });
}

/** openapi-typescript and openapi-fetch: types alone, and a fetch that knows them. */
import createClient from "openapi-fetch";
import { type Driver, poll } from "./driver.ts";
import type { components, paths } from "./generated/openapi-typescript.ts";

const least: components["schemas"]["CreateGenerationInput"] = { prompt: "a house" };

/** What an answer holds. */
function dataOf<T>({ data, error }: { data?: T; error?: unknown }): T {
  if (data === undefined) throw error;
  return data;
}

export default (baseUrl: string, key: string): Driver => {
  const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
  const get = async (id: string) => dataOf(await api.GET("/v1/generations/{id}", { params: { path: { id } } }));
  return {
    async upload(file) {
      const form = new FormData();
      form.append("file", file);
      // A type of binary contents is a string to it: the form is made by hand.
      const sent = await api.POST("/v1/uploads", { body: { file: "" }, bodySerializer: () => form });
      return `upload:${dataOf(sent).id}`;
    },
    async create(image, url) {
      const body = { ...least, num_inference_steps: 3, controls: [{ controlnet: "canny", image }], webhook: { url } };
      return dataOf(await api.POST("/v1/generations", { body })).id;
    },
    wait: async (id) => ({ status: await poll(() => get(id)) }),
    list: async () =>
      dataOf(await api.GET("/v1/generations", { params: { query: { limit: 5 } } })).data.map(({ id }) => id),
    picture: async (id) =>
      dataOf(await api.GET("/v1/generations/{id}/images/{n}", { params: { path: { id, n: 0 } }, parseAs: "blob" })),
    async cancel() {
      const { id } = dataOf(await api.POST("/v1/generations", { body: { ...least, num_inference_steps: 150 } }));
      dataOf(await api.POST("/v1/generations/{id}/cancel", { params: { path: { id } } }));
      return poll(() => get(id));
    },
    async error() {
      const { error } = await api.POST("/v1/generations", { body: { ...least, width: 7 } });
      return { code: error!.code, path: error!.errors[0]?.path };
    },
    secret: async () => dataOf(await api.GET("/v1/webhooks/secret")).key,
    webhook(payload) {
      const webhook = payload as components["schemas"]["WebhookPayload"];
      return webhook.type === "generation.succeeded" ? webhook.data.images.map(({ url }) => url) : [];
    },
  };
};

/** @hey-api/openapi-ts: functions by operation, `{ data, error }` or exceptions, and events one by one. */
import { type Driver, poll } from "./driver.ts";
import { type Client, createClient, createConfig } from "./generated/hey-api/client/index.ts";
import * as api from "./generated/hey-api/index.ts";

const least: api.CreateGenerationInput = { prompt: "a house" };

const drive = (client: Client): Driver => ({
  upload: async (file) => `upload:${(await api.createUpload({ client, body: { file }, throwOnError: true })).data.id}`,
  async create(image, url) {
    const body = { ...least, num_inference_steps: 3, controls: [{ controlnet: "canny", image }], webhook: { url } };
    const { data } = await api.createGeneration({ client, body, throwOnError: true });
    return data.id;
  },
  async wait(id) {
    const steps: number[] = [];
    let status: api.JobStatus = "queued";
    const { stream } = await api.streamGenerationEvents({ client, path: { id } });
    for await (const event of stream) {
      if ("step" in event) steps.push(event.step);
      else status = event.status;
    }
    return { steps, status };
  },
  list: async () =>
    (await api.listGenerations({ client, query: { limit: 5 }, throwOnError: true })).data.data.map(({ id }) => id),
  async picture(id) {
    const { data } = await api.getGenerationImage({ client, path: { id, n: 0 }, throwOnError: true });
    return data;
  },
  async cancel() {
    const body = { ...least, num_inference_steps: 150 };
    const { id } = (await api.createGeneration({ client, body, throwOnError: true })).data;
    await api.cancelGeneration({ client, path: { id }, throwOnError: true });
    return poll(async () => (await api.getGeneration({ client, path: { id }, throwOnError: true })).data);
  },
  async error() {
    const { error } = await api.createGeneration({ client, body: { ...least, width: 7 } });
    return { code: error!.code, path: error!.errors[0]?.path };
  },
  secret: async () => (await api.getWebhookSecret({ client, throwOnError: true })).data.key,
  webhook(payload) {
    const webhook = payload as api.WebhookPayload;
    return webhook.type === "generation.succeeded" ? webhook.data.images.map(({ url }) => url) : [];
  },
});

export default (baseUrl: string, key: string): Driver => drive(createClient(createConfig({ baseUrl, auth: key })));

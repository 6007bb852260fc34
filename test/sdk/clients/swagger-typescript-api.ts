/** swagger-typescript-api: a class with methods by operation, enums, and exceptions that are the answer. */
import { type Driver, poll } from "./driver.ts";
import {
  Api,
  type CreateGenerationInput,
  type Problem,
  type WebhookPayload,
} from "./generated/swagger-typescript-api.ts";

const least: CreateGenerationInput = { prompt: "a house" };

export default (baseUrl: string, key: string): Driver => {
  const securityWorker = () => ({ headers: { Authorization: `Bearer ${key}` } });
  const { v1 } = new Api({ baseUrl, securityWorker, baseApiParams: { secure: true } });
  return {
    upload: async (file) => `upload:${(await v1.createUpload({ file: file as File })).data.id}`,
    async create(image, url) {
      const body = { ...least, num_inference_steps: 3, controls: [{ controlnet: "canny", image }], webhook: { url } };
      return (await v1.createGeneration(body)).data.id;
    },
    wait: async (id) => ({ status: await poll(async () => (await v1.getGeneration(id)).data) }),
    list: async () => (await v1.listGenerations({ limit: 5 })).data.data.map(({ id }) => id),
    picture: async (id) => (await v1.getGenerationImage(id, 0)).data,
    async cancel() {
      const { id } = (await v1.createGeneration({ ...least, num_inference_steps: 150 })).data;
      await v1.cancelGeneration(id);
      return poll(async () => (await v1.getGeneration(id)).data);
    },
    async error() {
      const answer = await v1.createGeneration({ ...least, width: 7 }).catch((refused) => refused);
      const { code, errors } = answer.error as Problem;
      return { code, path: errors[0]?.path };
    },
    secret: async () => (await v1.getWebhookSecret()).data.key,
    webhook(payload) {
      const webhook = payload as WebhookPayload;
      return webhook.type === "generation.succeeded" ? webhook.data.images.map(({ url }) => url) : [];
    },
  };
};

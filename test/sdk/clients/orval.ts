/** orval with fetch: functions by operation, answers told apart by `status`; the address stands in what is generated. */
import { type Driver, poll } from "./driver.ts";
import * as api from "./generated/orval.ts";

const least: api.CreateGenerationInput = { prompt: "a house" };

export default (_: string, key: string): Driver => {
  const options = { headers: { Authorization: `Bearer ${key}` } };
  async function get(id: string) {
    const answer = await api.getGeneration(id, options);
    if (answer.status !== 200) throw new Error(answer.data.detail);
    return answer.data;
  }
  async function accepted(input: api.CreateGenerationInput) {
    const answer = await api.createGeneration(input, options);
    if (answer.status !== 202) throw new Error("detail" in answer.data ? answer.data.detail : "it has ended");
    return answer.data.id;
  }
  return {
    async upload(file) {
      const answer = await api.createUpload({ file }, options);
      if (answer.status !== 201) throw new Error(answer.data.detail);
      return `upload:${answer.data.id}`;
    },
    create: (image, url) =>
      accepted({ ...least, num_inference_steps: 3, controls: [{ controlnet: "canny", image }], webhook: { url } }),
    wait: async (id) => ({ status: await poll(() => get(id)) }),
    async list() {
      const answer = await api.listGenerations({ limit: 5 }, options);
      if (answer.status !== 200) throw new Error(answer.data.detail);
      return answer.data.data.map(({ id }) => id);
    },
    async picture(id) {
      const answer = await api.getGenerationImage(id, 0, options);
      if (answer.status !== 200) throw new Error(`answered ${answer.status}`);
      return answer.data;
    },
    async cancel() {
      const id = await accepted({ ...least, num_inference_steps: 150 });
      await api.cancelGeneration(id, options);
      return poll(() => get(id));
    },
    async error() {
      const answer = await api.createGeneration({ ...least, width: 7 }, options);
      if (answer.status !== 400) throw new Error(`answered ${answer.status}`);
      return { code: answer.data.code, path: answer.data.errors[0]?.path };
    },
    async secret() {
      const answer = await api.getWebhookSecret(options);
      if (answer.status !== 200) throw new Error(answer.data.detail);
      return answer.data.key;
    },
    webhook(payload) {
      const webhook = payload as api.WebhookPayload;
      return webhook.type === "generation.succeeded" ? webhook.data.images.map(({ url }) => url) : [];
    },
  };
};

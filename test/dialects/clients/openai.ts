import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";
import sharp from "sharp";
import { signedHeaders } from "../../../src/webhooks/signing.ts";
import { type Call, passes, refused } from "./call.ts";

export function openai(url: string): Call[] {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
  const request = { model: "base", prompt: "a house", size: "64x64", num_inference_steps: 2 } as const;
  const png = sharp({
    create: { width: 64, height: 64, channels: 4, background: { r: 9, g: 9, b: 9, alpha: 0 } },
  }).png();
  const image = async () => toFile(await png.toBuffer(), "image.png", { type: "image/png" });
  return [
    passes("models.list", async () => assert.equal((await client.models.list()).data[0]?.object, "model")),
    passes("models.retrieve", async () => assert.equal((await client.models.retrieve("base")).owned_by, "local")),
    passes("images.generate", async () => {
      const { data } = await client.images.generate({ ...request, response_format: "b64_json" });
      assert.ok(data![0]!.b64_json);
    }),
    passes("images.generate with stream", async () => {
      // Previews go at the end: with as many steps the reader may be half of the generation behind.
      const asked = { ...request, num_inference_steps: 149, stream: true, partial_images: 1 } as const;
      const stream = await client.images.generate(asked);
      const types: string[] = [];
      for await (const { type } of stream) types.push(type);
      assert.deepEqual(types, ["image_generation.partial_image", "image_generation.completed"]);
    }),
    passes("images.edit", async () => {
      const { data } = await client.images.edit({ ...request, image: await image() });
      assert.ok(data![0]!.url);
    }),
    passes("images.edit with stream", async () => {
      const asked = {
        model: "base",
        prompt: "a lake",
        image: await image(),
        mask: await image(),
        num_inference_steps: 2,
        stream: true,
      } as const;
      const types: string[] = [];
      for await (const { type } of await client.images.edit(asked)) types.push(type);
      assert.deepEqual(types, ["image_edit.completed"]);
    }),
    refused("images.createVariation", /edits/, "OpenAI has retired it", async () =>
      client.images.createVariation({ image: await image() }),
    ),
    passes("webhooks.unwrap of our webhooks", async () => {
      const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
      const body = JSON.stringify({ type: "generation.succeeded", data: {} });
      const headers = signedHeaders([secret], "evt_1", new Date(), body);
      assert.equal((await client.webhooks.unwrap(body, headers, secret)).type as string, "generation.succeeded");
    }),
  ];
}

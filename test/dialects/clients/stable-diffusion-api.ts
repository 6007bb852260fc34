/** `stable-diffusion-api` and `a1111-webui-api`: one is made of the other. */
import assert from "node:assert/strict";
import sharp from "sharp";
import { type Call, passes, refused } from "./call.ts";

type Module = typeof import("a1111-webui-api");

export async function stableDiffusionApi(
  url: string,
  name: "stable-diffusion-api" | "a1111-webui-api",
): Promise<Call[]> {
  const { default: exported } = (await import(name)) as { default: Module };
  const client = new exported.StableDiffusionApi({ baseUrl: url });
  // Its own sharp, as its types have it, is the one of this project.
  // biome-ignore lint/suspicious/noExplicitAny: two packages' types of the same thing
  const picture = (): any => sharp({ create: { width: 64, height: 64, channels: 3, background: "#fff" } });
  const request = { prompt: "a house", steps: 2, width: 64, height: 64 };
  const unit = () => new exported.ControlNetUnit({ input_image: picture(), module: "none", model: "canny" });
  const empty = async (list: Promise<unknown[]>) => assert.deepEqual(await list, []);
  return [
    passes("txt2img", async () => assert.equal((await client.txt2img(request)).images.length, 1)),
    passes("txt2img with units", async () => {
      const result = await client.txt2img({ ...request, controlnet_units: [unit()] });
      assert.equal(result.images.length, 2);
      assert.equal((await result.image!.metadata()).width, 64);
    }),
    passes("img2img", async () => {
      assert.equal((await client.img2img({ ...request, init_images: [picture()] })).images.length, 1);
    }),
    passes("img2img with units", async () => {
      const result = await client.img2img({ ...request, init_images: [picture()], controlnet_units: [unit()] });
      assert.equal(result.images.length, 2);
    }),
    passes("img2img with a mask, as it is", async () => {
      const exact = { mask_blur: 0, mask_blur_x: 0, mask_blur_y: 0, inpainting_fill: 1, inpaint_full_res: false };
      const masked = { ...request, ...exact, init_images: [picture()], mask_image: picture() };
      assert.equal((await client.img2img(masked as never)).images.length, 1);
    }),
    refused("img2img with a mask that is blurred", /mask_blur/, "nothing is blended", () =>
      client.img2img({ ...request, init_images: [picture()], mask_image: picture() }),
    ),
    refused("extraSingle", /upscalers/, "no upscalers", () =>
      client.extraSingle({ image: picture(), upscaler_1: "Lanczos", upscaling_resize: 2 }),
    ),
    refused("extraBatch", /upscalers/, "no upscalers", () =>
      client.extraBatch({ images: [picture()], name_list: ["a"], upscaler_1: "Lanczos", upscaling_resize: 2 } as never),
    ),
    refused("interrogate", /describes/, "no network describes pictures", () => client.interrogate(picture(), "clip")),
    passes("pngInfo", async () => assert.deepEqual((await client.pngInfo(picture())).info, {})), // re-encoded: nothing is left
    passes("getOptions", async () => assert.equal((await client.getOptions()).sd_model_checkpoint, "base")),
    passes("setOptions", () => client.setOptions({ sd_model_checkpoint: "base" })),
    passes("getProgress", async () => assert.equal((await client.getProgress(true)).state.job_count, 0)),
    passes("getCmdFlags", () => client.getCmdFlags()),
    passes("getSamplers", async () => assert.ok((await client.getSamplers()).length > 10)),
    passes("getUpscalers", () => empty(client.getUpscalers())),
    passes("getSdModels", async () => assert.equal((await client.getSdModels())[0]?.title, "base")),
    passes("getHypernetworks", () => empty(client.getHypernetworks())),
    passes("getFaceRestorers", () => empty(client.getFaceRestorers())),
    passes("getRealesrganModels", () => empty(client.getRealesrganModels())),
    passes("getPromptStyles", () => empty(client.getPromptStyles())),
    passes("refreshCheckpoints", () => client.refreshCheckpoints()),
    passes("getCurrentModel", async () => assert.equal(await client.getCurrentModel(), "base")),
    passes("setModel", () => client.setModel("base")),
    passes("waitForReady", async () => assert.equal(await client.waitForReady(0.01), true)),
    passes("ControlNet.getModels", async () => assert.ok((await client.ControlNet.getModels()).includes("canny"))),
    passes("ControlNet.getModules", async () => assert.ok((await client.ControlNet.getModules()).includes("none"))),
    passes("ControlNet.detect", async () => {
      const asked = { controlnet_module: "canny", controlnet_input_images: [picture()] };
      assert.equal((await client.ControlNet.detect(asked as never)).images.length, 1);
    }),
    passes("txt2img with a unit's module", async () => {
      const annotated = new exported.ControlNetUnit({ input_image: picture(), module: "canny", model: "canny" });
      assert.equal((await client.txt2img({ ...request, controlnet_units: [annotated] })).images.length, 2);
    }),
  ];
}

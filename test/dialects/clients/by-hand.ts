/** The requests of programs that are no packages of npm, written by hand from what is public of them; the programs themselves were not run. */
import assert from "node:assert/strict";
import sharp from "sharp";
import { type Call, passes, refused } from "./call.ts";

export function handWritten(url: string): [string, Call[]][] {
  const call = async (method: string, path: string, body?: unknown) => {
    const answer = await fetch(`${url}${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
    // biome-ignore lint/suspicious/noExplicitAny: whatever the other system's shape is
    const said = (await answer.json()) as any;
    if (!answer.ok) throw new Error(JSON.stringify(said));
    return said;
  };
  const get = (path: string) => passes(`GET ${path}`, () => call("GET", path));
  const post = (path: string, body?: unknown) => passes(`POST ${path}`, () => call("POST", path, body));
  const sd = (names: string) => names.split(" ").map((name) => get(`/sdapi/v1/${name}`));
  return [
    ["Open WebUI", openWebUi(call, sd)],
    ["SillyTavern", sillyTavern(call, sd, get, post)],
    [
      "Auto-Photoshop plugin",
      [
        ...sd("options sd-models samplers sd-vae upscalers loras cmd-flags progress"),
        ...extension(get),
        detection(call, "controlnet_input_images"),
      ],
    ],
    ["webuiapi", webuiapi(call, sd, get)],
  ];
}

type Ask = (method: string, path: string, body?: unknown) => Promise<{ [key: string]: never } & { images: string[] }>;
type Get = (path: string) => Call;

const extension = (get: Get): Call[] =>
  ["version", "settings", "model_list", "module_list", "control_types"].map((name) => get(`/controlnet/${name}`));
const detection = (call: Ask, images: string) =>
  passes("POST /controlnet/detect", async () => {
    const { length } = (
      await call("POST", "/controlnet/detect", { controlnet_module: "canny", [images]: [await white()] })
    ).images;
    assert.equal(length, 1);
  });
const white = async () =>
  (
    await sharp({ create: { width: 64, height: 64, channels: 3, background: "#fff" } })
      .png()
      .toBuffer()
  ).toString("base64");

/** backend/open_webui/routers/images.py */
function openWebUi(call: Ask, sd: (names: string) => Call[]): Call[] {
  return [
    ...sd("options sd-models"),
    passes("POST /sdapi/v1/options", async () => {
      const options = await call("GET", "/sdapi/v1/options");
      await call("POST", "/sdapi/v1/options", { ...options, sd_model_checkpoint: "base" });
    }),
    passes("POST /sdapi/v1/txt2img", async () => {
      const request = {
        prompt: "a house",
        batch_size: 2,
        width: 64,
        height: 64,
        steps: 2,
        cfg_scale: 7,
        sampler_name: "Euler a",
        scheduler: "Automatic",
      };
      assert.equal((await call("POST", "/sdapi/v1/txt2img", request)).images.length, 2);
    }),
    passes("POST /v1/images/generations", async () => {
      const request = {
        model: "base",
        prompt: "a house",
        n: 1,
        size: "64x64",
        response_format: "b64_json",
        quality: "low",
      };
      await call("POST", "/v1/images/generations", request);
    }),
  ];
}

/** src/endpoints/stable-diffusion.js and public/scripts/extensions/stable-diffusion */
function sillyTavern(
  call: Ask,
  sd: (names: string) => Call[],
  get: Get,
  post: (path: string, body?: unknown) => Call,
): Call[] {
  const request = {
    ...{
      prompt: "a house",
      negative_prompt: "fog",
      sampler_name: "DPM++ 2M",
      scheduler: "karras",
      steps: 2,
      cfg_scale: 7,
    },
    ...{ width: 64, height: 64, restore_faces: false, enable_hr: false, hr_upscaler: "Latent", hr_scale: 2 },
    ...{ hr_additional_modules: [], denoising_strength: 0.7, hr_second_pass_steps: 0 },
    override_settings: { CLIP_stop_at_last_layers: 1 },
    ...{ override_settings_restore_afterwards: true, clip_skip: 1, save_images: true, send_images: true },
    ...{ do_not_save_grid: false, do_not_save_samples: false },
  };
  const txt2img = (more: object) => () => call("POST", "/sdapi/v1/txt2img", { ...request, ...more });
  return [
    get("/internal/ping"),
    ...sd("options sd-models samplers schedulers upscalers latent-upscale-modes sd-vae sd-modules progress"),
    post("/sdapi/v1/options", { sd_model_checkpoint: "base" }),
    passes("POST /sdapi/v1/txt2img", async () => assert.equal((await txt2img({})()).images.length, 1)),
    refused("POST /sdapi/v1/txt2img with hires fix", /enable_hr/, "no second pass", txt2img({ enable_hr: true })),
    refused(
      "POST /sdapi/v1/txt2img with ADetailer",
      /ADetailer/,
      "no such script",
      txt2img({ alwayson_scripts: { ADetailer: { args: [true, true, { ad_model: "face_yolov8n.pt" }] } } }),
    ),
    post("/sdapi/v1/interrupt"),
  ];
}

/** webuiapi/webuiapi.py */
function webuiapi(call: Ask, sd: (names: string) => Call[], get: Get): Call[] {
  const shared = {
    ...{
      prompt: "a house",
      styles: [],
      seed: -1,
      subseed: -1,
      subseed_strength: 0,
      seed_resize_from_h: 0,
      seed_resize_from_w: 0,
    },
    ...{ batch_size: 1, n_iter: 1, steps: 2, cfg_scale: 7, width: 64, height: 64, restore_faces: false, tiling: false },
    ...{
      do_not_save_samples: false,
      do_not_save_grid: false,
      negative_prompt: "",
      eta: 1,
      s_churn: 0,
      s_tmax: 0,
      s_tmin: 0,
      s_noise: 1,
    },
    ...{ override_settings: {}, override_settings_restore_afterwards: true, script_args: [], script_name: null },
    ...{ send_images: true, save_images: false, sampler_name: "Euler a", scheduler: "Automatic" },
  };
  const hires = {
    enable_hr: false,
    hr_scale: 2,
    hr_upscaler: "Latent",
    hr_second_pass_steps: 0,
    hr_resize_x: 0,
    hr_resize_y: 0,
    denoising_strength: 0.7,
    firstphase_width: 0,
    firstphase_height: 0,
  };
  const unit = async () => ({
    ...{
      image: await white(),
      mask: null,
      module: "none",
      model: "canny",
      weight: 1,
      resize_mode: "Resize and Fill",
      low_vram: false,
    },
    ...{
      processor_res: 512,
      threshold_a: 64,
      threshold_b: 64,
      guidance_start: 0,
      guidance_end: 1,
      control_mode: 0,
      pixel_perfect: false,
    },
    ...{ hr_option: "Both", enabled: true },
  });
  const blank = {
    mask: null,
    mask_blur: 4,
    inpainting_fill: 0,
    inpaint_full_res: true,
    inpaint_full_res_padding: 0,
    inpainting_mask_invert: 0,
  };
  return [
    passes("txt2img", async () => {
      const { images } = await call("POST", "/sdapi/v1/txt2img", {
        ...shared,
        ...hires,
        alwayson_scripts: { ControlNet: { args: [] } },
      });
      assert.equal(images.length, 1);
    }),
    passes("txt2img with units", async () => {
      const alwayson_scripts = { ControlNet: { args: [await unit()] } };
      const { images } = await call("POST", "/sdapi/v1/txt2img", { ...shared, ...hires, alwayson_scripts });
      assert.equal(images.length, 2);
    }),
    passes("img2img", async () => {
      const request = {
        ...shared,
        ...blank,
        init_images: [await white()],
        resize_mode: 0,
        denoising_strength: 0.75,
        image_cfg_scale: 1.5,
        initial_noise_multiplier: 1,
        alwayson_scripts: {},
      };
      assert.equal((await call("POST", "/sdapi/v1/img2img", request)).images.length, 1);
    }),
    passes("scripts has controlnet m2m", async () => {
      assert.ok(JSON.stringify(await call("GET", "/sdapi/v1/scripts")).includes("controlnet m2m"));
    }),
    ...sd(
      "options sd-models samplers schedulers upscalers latent-upscale-modes hypernetworks face-restorers realesrgan-models prompt-styles embeddings memory sd-vae loras script-info progress cmd-flags",
    ),
    ...extension(get),
    detection(call, "controlnet_images"),
  ];
}

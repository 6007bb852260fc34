/** Clients of AUTOMATIC1111's web UI and its ControlNet extension, unmodified, make pictures here. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import A1111 from "a1111-webui-api";
import sdwebui from "node-sd-webui";
import sharp from "sharp";
import { startGateway } from "../support/gateway.ts";
import { until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const KEY = "0123456789abcdef";
const OTHER = "fedcba9876543210";
const gateway = await startGateway(stack, { API_KEYS: `me:${KEY},you:${OTHER}` });
await gateway.work();
const base = gateway.config.PUBLIC_URL;

/** A request as a program sends it that is written by hand: HTTP Basic, JSON. */
async function call(method: string, path: string, body?: unknown, key = KEY) {
  const response = await fetch(`${base}${path}`, {
    method,
    headers: {
      Authorization: `Basic ${Buffer.from(`me:${key}`).toString("base64")}`,
      ...(body !== undefined && { "Content-Type": "application/json" }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: whatever the other system's shape is
  return { status: response.status, body: (await response.json()) as any };
}
const post = (path: string, body: unknown = {}) => call("POST", path, body);
const get = (path: string) => call("GET", path);

/** The request of the latest generation, as it was carried out. */
async function latest() {
  const { body } = await get("/v1/generations?limit=1");
  return body.data[0].request;
}

const picture = (color: string) => sharp({ create: { width: 64, height: 64, channels: 3, background: color } }).png();
const base64 = async (color: string) => (await picture(color).toBuffer()).toString("base64");
const white = await base64("#fff");
const small = { prompt: "a house", steps: 2, width: 64, height: 64, seed: 7, sampler_name: "Euler" };
const pixelsOf = async (b64: string) => (await sharp(Buffer.from(b64, "base64")).raw().toBuffer()).toString("base64");

test("a picture is that of our own API, with what it was made of in its file and in info", async () => {
  const { status, body } = await post("/sdapi/v1/txt2img", { ...small, negative_prompt: "fog" });
  assert.equal(status, 200);
  assert.equal(body.images.length, 1);
  const info = JSON.parse(body.info);
  assert.deepEqual([info.seed, info.all_seeds, info.sampler_name, info.sd_model_name], [7, [7], "Euler", "base"]);
  const own = await gateway.http
    .post("/v1/generations")
    .set({ Authorization: `Bearer ${KEY}`, Prefer: "wait=60" })
    .send({
      ...{ model: "base", prompt: "a house", negative_prompt: "fog", num_inference_steps: 2, guidance_scale: 7 },
      ...{ width: 64, height: 64, seed: 7, scheduler: "euler", prompt_syntax: "weighted", long_prompt: "chunk" },
    });
  const file = await gateway.http.get(new URL(own.body.images[0].url).pathname).set({ Authorization: `Bearer ${KEY}` });
  assert.equal(await pixelsOf(body.images[0]), await pixelsOf(file.body.toString("base64")));
  const read = await post("/sdapi/v1/png-info", { image: body.images[0] });
  assert.equal(read.body.info, info.infotexts[0]);
  assert.match(
    read.body.info,
    /^a house\nNegative prompt: fog\nSteps: 2, Sampler: Euler, CFG scale: 7, Seed: 7, Size: 64x64, /,
  );
  assert.equal(read.body.parameters.Seed, "7");
});

test("units become controls, with all the names that their fields have had", async () => {
  const unit = { input_image: white, model: "canny [0f0f0f0f]", module: "none" };
  const units = [
    {
      ...unit,
      weight: 0.5,
      guidance: 0.9,
      guidance_start: 0.1,
      guessmode: false,
      resize_mode: "Scale to Fit (Inner Fit)",
    },
    {
      enabled: true,
      image: `data:image/png;base64,${white}`,
      model: "Canny",
      control_mode: 2,
      resize_mode: 0,
      pixel_perfect: true,
    },
    {
      enabled: true,
      image: { image: white, mask: null },
      model: "canny.safetensors",
      control_mode: "My prompt is more important",
      resize_mode: "Resize and Fill",
    },
    {
      image: [{ image: white }],
      model: "canny",
      advanced_weighting: Array(13).fill(0.5),
      effective_region_mask: white,
      lowvram: true,
    },
    { ...unit, guess_mode: true, guidance_end: 0.8, guidance: 1, save_detected_map: false },
    { ...unit, enabled: false },
    { module: "None", model: "None" },
  ];
  const { status, body } = await post("/sdapi/v1/txt2img", {
    ...small,
    batch_size: 2,
    n_iter: 2,
    alwayson_scripts: { ControlNet: { args: units }, "Some Script": { args: [] } },
  });
  assert.equal(status, 200, body.detail);
  assert.equal(body.images.length, 4 + 4, "twice two pictures, and the maps of the units that show theirs");
  const { controls, num_images } = await latest();
  assert.equal(num_images, 4);
  // biome-ignore lint/suspicious/noExplicitAny: JSON
  const said = controls.map((one: any) => [
    ...[one.conditioning_scale, one.control_guidance_start, one.control_guidance_end],
    ...[one.control_mode, one.resize_mode],
  ]);
  assert.deepEqual(said, [
    [0.5, 0.1, 0.9, "balanced", "crop"],
    [1, 0, 1, "control", "stretch"],
    [1, 0, 1, "prompt", "fill"],
    [1, 0, 1, "balanced", "crop"],
    [1, 0, 0.8, "control", "crop"],
  ]);
  assert.deepEqual(controls[3].layer_scales, Array(13).fill(0.5));
  assert.match(controls[3].mask, /^sha256:/);
});

test("a unit of image-to-image without an image reads the one that it begins with", async () => {
  const { status, body } = await post("/sdapi/v1/img2img", {
    ...small,
    init_images: [white],
    denoising_strength: 0.6,
    alwayson_scripts: { controlnet: { args: [{ model: "canny" }] } },
  });
  assert.equal(status, 200, body.detail);
  const { strength, image, controls } = await latest();
  assert.equal(strength, 0.6);
  assert.equal(controls[0].image, image);
});

test("a mask paints where it is white; inverted, where it is black", async () => {
  const sent = {
    ...small,
    init_images: [white],
    mask: await base64("#000"),
    mask_blur: 0,
    inpainting_fill: 1,
    inpaint_full_res: false,
  };
  const plain = await post("/sdapi/v1/img2img", { ...sent, mask: white });
  const inverted = await post("/sdapi/v1/img2img", { ...sent, inpainting_mask_invert: 1 });
  assert.equal(plain.status, 200, plain.body.detail);
  assert.equal(await pixelsOf(inverted.body.images[0]), await pixelsOf(plain.body.images[0]));
});

test("samplers and schedule types by their names there", async () => {
  const names: [sampler: string, schedule: string | null, scheduler: string][] = [
    ["Euler a", null, "euler_ancestral"],
    ["DPM++ 2M Karras", null, "dpmpp_2m_karras"],
    ["DPM++ 2M", "Automatic", "dpmpp_2m_karras"],
    ["DPM++ 2M", "uniform", "dpmpp_2m"],
    ["DPM++ 2M SDE", "Karras", "dpmpp_2m_sde_karras"],
    ["k_euler", "exponential", "euler_exponential"],
    ["PLMS", null, "pndm"],
    ["unipc", null, "unipc"],
  ];
  for (const [sampler_name, scheduler, ours] of names) {
    const { status, body } = await post("/sdapi/v1/txt2img", { ...small, sampler_name, scheduler, send_images: false });
    assert.equal(status, 200, body.detail);
    assert.deepEqual([(await latest()).scheduler, body.images], [ours, []], sampler_name);
  }
  const { body: samplers } = await get("/sdapi/v1/samplers");
  const { body: schedulers } = await get("/sdapi/v1/schedulers");
  assert.ok(samplers.some(({ name }: { name: string }) => name === "DPM++ 2M"));
  assert.ok(schedulers.some(({ label }: { label: string }) => label === "Karras"));
});

test("options are each key's own, and may be sent back whole", async () => {
  const { body: options } = await get("/sdapi/v1/options");
  assert.equal(options.sd_model_checkpoint, "base");
  assert.equal((await post("/sdapi/v1/options", { ...options, CLIP_stop_at_last_layers: 2 })).status, 200);
  await post("/sdapi/v1/txt2img", { ...small, send_images: false });
  assert.equal((await latest()).clip_skip, 1);
  const { body: others } = await call("GET", "/sdapi/v1/options", undefined, OTHER);
  assert.equal(others.CLIP_stop_at_last_layers, 1);
  await post("/sdapi/v1/txt2img", { ...small, send_images: false, override_settings: { CLIP_stop_at_last_layers: 1 } });
  assert.equal((await latest()).clip_skip, null);
  await post("/sdapi/v1/options", { CLIP_stop_at_last_layers: 1 });
});

test("progress and interrupt are of a key's own jobs, and of one where it is named", async () => {
  const long = { ...small, steps: 150, width: 256, height: 256 }; // it is not over before it is interrupted
  const first = post("/sdapi/v1/txt2img", { ...long, force_task_id: "first" });
  await until("it to be accepted", async () => (await get("/sdapi/v1/progress")).body.state.job_count === 1);
  const second = post("/sdapi/v1/txt2img", { ...long, force_task_id: "second" });
  const running = await until("the first to run", async () => {
    const { body } = await get("/sdapi/v1/progress");
    const { sampling_step, job_count } = body.state;
    return sampling_step > 0 && job_count === 2 && body.current_image !== null ? body : undefined;
  });
  assert.equal(running.state.job_count, 2);
  assert.equal(running.state.sampling_steps, 150);
  assert.ok(running.progress > 0 && running.progress < 1);
  await sharp(Buffer.from(running.current_image, "base64")).metadata();
  assert.equal((await get("/sdapi/v1/progress?skipCurrentImage=true")).body.current_image, null);
  const { body: others } = await call("GET", "/sdapi/v1/progress", undefined, OTHER);
  assert.deepEqual([others.progress, others.state.job_count], [0, 0]);
  await call("POST", "/sdapi/v1/interrupt", {}, OTHER);
  assert.equal((await get("/sdapi/v1/progress")).body.state.job_count, 2, "another key's interrupt has stopped one");
  await call("POST", "/sdapi/v1/interrupt?id_task=second");
  assert.equal((await second).status, 409);
  const { body: task } = await post("/internal/progress", { id_task: "first" });
  assert.deepEqual([task.active, task.queued, task.completed], [true, false, false]);
  await post("/sdapi/v1/interrupt");
  const stopped = await first;
  assert.deepEqual([stopped.status, stopped.body.error], [409, "canceled"]);
  const idle = (await get("/sdapi/v1/progress")).body;
  assert.deepEqual([idle.progress, idle.state.job_count, idle.current_image], [0, 0, null]);
});

const drawn = async () => {
  const house =
    '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><path fill="#fff" d="M0 0h64v64H0z"/><path d="M20 20h24v24H20z"/></svg>';
  return (await sharp(Buffer.from(house)).png().toBuffer()).toString("base64");
};

test("a module makes the map, which is that of detect, and of our own annotator", async () => {
  const image = await drawn();
  const sliders = { processor_res: 64, threshold_a: 50, threshold_b: 150 };
  const unit = { image, module: "canny", model: "canny", ...sliders };
  const { status, body } = await post("/sdapi/v1/txt2img", {
    ...small,
    alwayson_scripts: { controlnet: { args: [unit] } },
  });
  assert.equal(status, 200, body.detail);
  const { name, params } = (await latest()).controls[0].annotator;
  assert.deepEqual([name, params.low_threshold, params.high_threshold], ["canny", 50, 150]);
  const detected = await post("/controlnet/detect", {
    ...{ controlnet_module: "canny", controlnet_input_images: [image], controlnet_processor_res: 64 },
    ...{ controlnet_threshold_a: 50, controlnet_threshold_b: 150 },
  });
  assert.equal(detected.body.info, "Success");
  assert.equal(await pixelsOf(body.images[1]), await pixelsOf(detected.body.images[0]));
  const own = await gateway.http
    .post("/v1/annotations")
    .set({ Authorization: `Bearer ${KEY}`, Accept: "image/png" })
    .send({
      annotator: { name: "canny", params: { low_threshold: 50, high_threshold: 150, resolution: 64 } },
      image: `data:image/png;base64,${image}`,
    });
  assert.equal(await pixelsOf(detected.body.images[0]), await pixelsOf(own.body.toString("base64")));
});

test("sliders that are absent or beyond their range are the module's own, and modules go by all their names", async () => {
  const image = await drawn();
  const args = [
    { image, module: "canny", model: "canny", processor_res: -1, threshold_a: -1, threshold_b: 1000 },
    { image, module: "invert (from white bg & black line)", model: "canny", processor_res: 64, threshold_a: 64 },
    { image, module: "canny", model: "canny", pixel_perfect: true },
    { image, module: "Tile_Resample", model: "canny", threshold_a: 2 },
  ];
  const { status, body } = await post("/sdapi/v1/txt2img", { ...small, alwayson_scripts: { ControlNet: { args } } });
  assert.equal(status, 200, body.detail);
  assert.equal(body.images.length, 5);
  const { controls } = await latest();
  // biome-ignore lint/suspicious/noExplicitAny: JSON
  const [canny, invert, perfect, tile] = controls.map((one: any) => one.annotator);
  const { low_threshold, high_threshold, resolution } = canny.params;
  assert.deepEqual([low_threshold, high_threshold, resolution], [100, 200, 512]);
  assert.deepEqual([invert.name, invert.params.resolution], ["invert", null]);
  assert.equal(perfect.params.resolution, null);
  assert.deepEqual([tile.name, tile.params.down_sampling_rate], ["tile", 2]);
});

test("modules are listed with their sliders, by both kinds of names, and control types with their ControlNets", async () => {
  const { body: names } = await get("/controlnet/module_list");
  const { body: labels } = await get("/controlnet/module_list?alias_names=true");
  assert.ok(names.module_list.includes("invert") && names.module_list.includes("color"));
  assert.ok(labels.module_list.includes("t2ia_color_grid"));
  assert.ok(!names.module_list.includes("depth"), "it needs a network that is not there");
  const resolution = { name: "Resolution", value: 512, min: 64, max: 2048, step: 8 };
  assert.deepEqual(names.module_detail.canny.sliders[0], resolution);
  assert.deepEqual(names.module_detail.tile_resample.sliders.slice(0, 1), [null]);
  const { Canny } = (await get("/controlnet/control_types")).body.control_types;
  assert.deepEqual(Canny.model_list, ["None", "canny"]);
  assert.equal(Canny.default_option, "canny");
  const all: string[] = [...names.module_list, ...labels.module_list];
  for (const controlnet_module of all.filter((name) => !name.startsWith("inpaint"))) {
    const asked = { controlnet_module, controlnet_input_images: [white], controlnet_processor_res: 64 };
    const { status, body } = await post("/controlnet/detect", asked);
    assert.equal(status, 200, `${controlnet_module}: ${body.detail}`);
    assert.equal(body.images.length, 1);
  }
});

test("what is inpainted is the image and the mask of image-to-image", async () => {
  const sent = { ...small, init_images: [await drawn()], mask: white, mask_blur: 0, inpainting_fill: 1 };
  const args = [{ module: "inpaint_global_harmonious", model: "canny" }];
  const { status, body } = await post("/sdapi/v1/img2img", { ...sent, alwayson_scripts: { controlnet: { args } } });
  assert.equal(status, 200, body.detail);
  assert.equal((await latest()).controls[0].annotator.name, "inpaint");
});

test("poses become skeletons", async () => {
  const pose_keypoints_2d = Array.from({ length: 18 }, (_, i) => [8 + 3 * i, 8 + 2 * i, 1]).flat();
  const pose = { people: [{ pose_keypoints_2d }], canvas_width: 64, canvas_height: 64 };
  const { status, body } = await post("/controlnet/render_openpose_json", [pose, pose]);
  assert.equal(status, 200, body.detail);
  assert.equal(body.images.length, 2);
  assert.equal((await sharp(Buffer.from(body.images[0], "base64")).metadata()).width, 64);
  assert.equal((await post("/controlnet/render_openpose_json", [])).body.info, "No pose data detected.");
});

test("detect without an image, with an unknown module, or with one whose network is not there is refused", async () => {
  const asked: [body: object, says: RegExp][] = [
    [{ controlnet_input_images: [] }, /No image selected/],
    [{ controlnet_module: "INVALID", controlnet_input_images: [white] }, /Module not available/],
    [{ controlnet_module: "depth_midas", controlnet_input_images: [white] }, /needs a network/],
    [{ controlnet_module: "reference_only", controlnet_input_images: [white] }, /Module not available/],
  ];
  for (const [body, says] of asked) {
    const answer = await post("/controlnet/detect", body);
    assert.equal(answer.status, 422);
    assert.match(answer.body.detail, says);
  }
  const broken = await post("/controlnet/detect", { controlnet_module: "canny", controlnet_input_images: ["AAAA"] });
  assert.match(broken.body.detail, /^controlnet_input_images: /);
  assert.match((await post("/sdapi/v1/png-info", { image: "AAAA" })).body.detail, /^image: /);
});

const args = (...units: object[]) => ({ alwayson_scripts: { controlnet: { args: units } } });
const refusals: [name: string, fields: Record<string, unknown>, says: RegExp][] = [
  ["hires fix", { enable_hr: true }, /enable_hr: .*img2img/],
  ["restored faces", { restore_faces: true }, /restore_faces/],
  ["variations", { subseed_strength: 0.5 }, /subseed_strength/],
  ["a script", { script_name: "X/Y/Z plot" }, /script_name/],
  ["another extension", { alwayson_scripts: { ADetailer: { args: [true] } } }, /ADetailer/],
  ["a VAE of its own", { override_settings: { sd_vae: "x.pt" } }, /sd_vae/],
  ["an unknown option", { override_settings: { img2img_fix_steps: true } }, /img2img_fix_steps/],
  ["an unknown model", { override_settings: { sd_model_checkpoint: "v1-5" } }, /v1-5.*base/],
  ["less fresh noise", { sampler_name: "Euler a", eta: 0.5 }, /^eta: .*must be 1/],
  ["an unknown sampler", { sampler_name: "DPM adaptive" }, /DPM adaptive.*Euler a/],
  ["a schedule that a sampler has not", { sampler_name: "Heun", scheduler: "Karras" }, /Heun.*Karras.*Uniform/],
  ["a prompt that changes on the way", { prompt: "a [cat:dog:0.5]" }, /\[a:b:0\.5\]/],
  ["words that alternate", { prompt: "a [cat|dog]" }, /\[a\|b\]/],
  ["several prompts", { prompt: "a cat AND a dog" }, /AND/],
  ["a hypernetwork", { prompt: "a cat <hypernet:x:1>" }, /hypernet/],
  ["an unknown LoRA", { prompt: "a cat <lora:pixel:0.8>" }, /^prompt: .*"pixel"/],
  ["guidance towards the negative prompt", { cfg_scale: 0.5 }, /^cfg_scale: must be 1 or more/],
  ["a unit that is on and has neither module nor model", args({ enabled: true, model: "None" }), /args\[0\]\.image/],
  [
    "an image that nothing reads",
    args({ image: white, module: "none", model: "None" }),
    /args\[0\]\.model: the unit has/,
  ],
  [
    "an unknown mode",
    args({ model: "canny", image: white, control_mode: "Both" }),
    /args\[0\]\.control_mode: .*"Both"/,
  ],
  ["an unknown fit", args({ model: "canny", image: white, resize_mode: 9 }), /args\[0\]\.resize_mode: /],
  ["a second pass of a unit", args({ model: "canny", image: white, hr_option: 2 }), /args\[0\]\.hr_option: /],
  [
    "a type of another network",
    args({ model: "canny", image: white, union_control_type: "Canny" }),
    /union_control_type: /,
  ],
  ["an unknown field", { stepz: 3 }, /stepz.*steps/],
  ["too many steps", { steps: 1000 }, /^steps: /],
  [
    "a unit without a model",
    { alwayson_scripts: { controlnet: { args: [{ module: "canny", image: white }] } } },
    /args\[0\]\.model/,
  ],
  [
    "an unknown module",
    { alwayson_scripts: { controlnet: { args: [{ module: "reference_only", model: "canny", image: white }] } } },
    /args\[0\]\.module.*reference_only/,
  ],
  ["a unit without an image", { alwayson_scripts: { controlnet: { args: [{ model: "canny" }] } } }, /args\[0\]\.image/],
  [
    "an unknown unit field",
    { alwayson_scripts: { controlnet: { args: [{ model: "canny", image: white, weigth: 1 }] } } },
    /weigth.*weight/,
  ],
  ["an unknown ControlNet", { alwayson_scripts: { controlnet: { args: [{ model: "x", image: white }] } } }, /"x"/],
  [
    "a window that is none",
    {
      alwayson_scripts: {
        controlnet: { args: [{ model: "canny", image: white, guidance_start: 0.8, guidance_end: 0.2 }] },
      },
    },
    /args\[0\]\.guidance_start: must be less than guidance_end$/,
  ],
];
for (const [name, fields, says] of refusals) {
  test(`${name} is refused by name`, async () => {
    const { status, body } = await post("/sdapi/v1/txt2img", { ...small, ...fields });
    assert.equal(status, 422);
    assert.match(body.detail, says);
    assert.deepEqual(Object.keys(body), ["error", "detail", "body", "errors"]);
  });
}

test("the body that the web UI's documentation fills in is taken as it is, on both routes", async () => {
  const body = {
    ...{ enable_hr: false, firstphase_width: 0, hr_scale: 2, hr_upscaler: "", hr_prompt: "", firstpass_image: "" },
    ...{ styles: [""], subseed: -1, subseed_strength: 0, seed_resize_from_h: -1, sampler_index: "Euler a", eta: 0 },
    ...{ s_churn: 0, s_tmax: 0, s_noise: 0, script_name: "", script_args: [], comments: {}, refiner_checkpoint: "" },
    ...{ distilled_cfg_scale: 3.5, override_settings: {}, alwayson_scripts: {}, tiling: false, force_task_id: "" },
  };
  const sent = { ...small, ...body, sampler_name: "", seed: "-1", cfg_scale: "7", denoising_strength: 0.5 };
  for (const [route, more] of [
    ["txt2img", {}],
    ["img2img", { init_images: [white], mask: null, mask_blur_x: 4, latent_mask: "", inpaint_full_res: true }],
  ] as const) {
    const { status, body: answer } = await post(`/sdapi/v1/${route}`, { ...sent, ...more });
    assert.equal(status, 200, answer.detail);
    assert.equal((await latest()).scheduler, "euler", "Euler a without its noise");
  }
});

test("a mask that is to be blended is refused, and what to send instead is said", async () => {
  const sent = { ...small, init_images: [white], mask: white };
  for (const [field, value] of [
    ["mask_blur", 4],
    ["inpainting_fill", 0],
    ["inpaint_full_res", true],
  ] as const) {
    const { status, body } = await post("/sdapi/v1/img2img", { ...sent, [field]: value });
    assert.deepEqual([status, body.detail.includes(field)], [422, true]);
  }
});

test("units that are off, or as empty as those that lists are filled up with, do nothing", async () => {
  const idle = [{ enabled: false, model: "nothing" }, {}, { module: "none", model: "None", image: "" }];
  const { status, body } = await post("/sdapi/v1/txt2img", { ...small, ...args(...idle) });
  assert.deepEqual([status, body.images.length], [200, 1]);
});

test("another method than a route has is 405 with what it has", async () => {
  for (const [method, path, allow] of [
    ["GET", "/sdapi/v1/txt2img", "OPTIONS, POST"],
    ["DELETE", "/sdapi/v1/options", "GET, HEAD, OPTIONS, POST"],
    ["PUT", "/controlnet/detect", "OPTIONS, POST"],
  ] as const) {
    const headers = { Authorization: `Bearer ${KEY}` };
    const answer = await fetch(`${base}${path}`, { method, headers });
    assert.deepEqual([answer.status, answer.headers.get("allow")], [405, allow], path);
    const asked = await fetch(`${base}${path}`, { method: "OPTIONS", headers });
    assert.deepEqual([asked.status, asked.headers.get("allow")], [204, allow], path);
  }
});

test("what is not there says why", async () => {
  for (const path of ["/sdapi/v1/interrogate", "/sdapi/v1/extra-single-image", "/sdapi/v1/skip", "/sdapi/v1/no-such"]) {
    const { status, body } = await post(path);
    assert.deepEqual([status, body.error], [404, "not_offered"], path);
  }
  assert.equal((await call("GET", "/sdapi/v1/options", undefined, "wrong-wrong-wrong")).status, 401);
});

test("node-sd-webui's route for units, which the extension has dropped, is there", async () => {
  const client = sdwebui({ apiUrl: base }); // it knows no key
  await assert.rejects(client.txt2img({ prompt: "x" }), /Unauthorized/);
  const units = [{ module: "none", model: "canny", weight: 1, resize_mode: "Just Resize", input_image: white }];
  const sent = { ...small, sampler_name: "DPM++ 2M Karras", controlnet_units: units };
  const { images } = (await post("/controlnet/txt2img", sent)).body;
  assert.equal(images.length, 2);
  const { parameters } = (await post("/sdapi/v1/png-info", { image: images[0] })).body;
  assert.deepEqual([parameters.Sampler, parameters.Size, parameters.Model], ["DPM++ 2M", "64x64", "base"]);
});

test("a1111-webui-api sends its units without enabled, and its sampler by name", async () => {
  const { StableDiffusionApi, ControlNetUnit } = A1111 as unknown as typeof import("a1111-webui-api");
  const client = new StableDiffusionApi({ baseUrl: base }).setAuth("me", KEY);
  const result = await client.txt2img({
    prompt: "a house",
    steps: 2,
    width: 64,
    height: 64,
    controlnet_units: [new ControlNetUnit({ input_image: picture("#fff"), module: "none", model: "canny" })],
  });
  assert.equal(result.images.length, 2);
  assert.equal((await latest()).scheduler, "euler_ancestral");
});

import assert from "node:assert/strict";
import Replicate from "replicate";
import sharp from "sharp";
import { type Call, passes, refused } from "./call.ts";

export function replicate(url: string): Call[] {
  const client = new Replicate({ auth: "none", baseUrl: `${url}/replicate/v1` });
  const input = { prompt: "a house", num_inference_steps: 2, width: 64, height: 64 };
  const png = () =>
    sharp({ create: { width: 64, height: 64, channels: 3, background: "#fff" } })
      .png()
      .toBuffer();
  const create = () => client.predictions.create({ model: "any/base", input });
  const trainings = (name: string, run: Call["run"]) =>
    refused(name, /v1\/trainings/, "ControlNets are trained at `POST /v1/trainings`", run);
  const deployments = (name: string, run: Call["run"]) =>
    refused(name, /takes predictions/, "each model takes predictions", run);
  const deployment = {
    name: "x",
    model: "any/base",
    version: "base",
    hardware: "cpu",
    min_instances: 0,
    max_instances: 1,
  };
  return [
    passes("run", async () => assert.equal(((await client.run("any/base", { input })) as string[]).length, 1)),
    passes("run by polling", () => client.run("any/base:base", { input, wait: { mode: "poll", interval: 20 } })),
    passes("run with a Buffer", async () => client.run("any/base", { input: { ...input, image: await png() } })),
    passes("stream", async () => {
      const events: string[] = [];
      for await (const { event } of client.stream("any/base", { input })) events.push(event);
      assert.deepEqual(events, ["output", "done"]);
    }),
    passes("wait", async () => assert.equal((await client.wait(await create(), { interval: 20 })).status, "succeeded")),
    passes("paginate", async () => {
      for await (const page of client.paginate(client.predictions.list)) assert.ok(page.length > 0);
    }),
    passes("predictions.create", async () => assert.equal((await create()).status, "starting")),
    passes("predictions.get", async () => client.predictions.get((await create()).id)),
    passes("predictions.list", async () => assert.ok((await client.predictions.list()).results.length > 0)),
    passes("predictions.cancel", async () => client.predictions.cancel((await create()).id)),
    passes("deployments.predictions.create", () => client.deployments.predictions.create("any", "base", { input })),
    deployments("deployments.get", () => client.deployments.get("any", "x")),
    deployments("deployments.list", () => client.deployments.list()),
    deployments("deployments.create", () => client.deployments.create(deployment as never)),
    deployments("deployments.update", () => client.deployments.update("any", "x", { min_instances: 1 } as never)),
    deployments("deployments.delete", () => client.deployments.delete("any", "x")),
    passes("files.create", async () =>
      assert.match((await client.files.create(await png())).urls.get, /replicate\/v1\/files/),
    ),
    passes("files.get", async () => client.files.get((await client.files.create(await png())).id)),
    passes("files.list", async () => assert.ok((await client.files.list()).results.length > 0)),
    passes("files.delete", async () => client.files.delete((await client.files.create(await png())).id)),
    passes("models.get", async () => assert.equal((await client.models.get("any", "base")).name, "base")),
    passes("models.list", async () => assert.equal((await client.models.list()).results[0]?.owner, "local")),
    passes("models.search", async () => assert.equal((await client.models.search("base")).results.length, 1)),
    passes("models.versions.list", () => client.models.versions.list("any", "base")),
    passes("models.versions.get", () => client.models.versions.get("any", "base", "base")),
    refused("models.create", /MODELS_DIR/, "models lie in `MODELS_DIR`", () =>
      client.models.create("any", "x", { visibility: "private", hardware: "cpu" } as never),
    ),
    passes("webhooks.default.secret.get", async () =>
      assert.match((await client.webhooks.default.secret.get()).key, /^whsec_/),
    ),
    passes("accounts.current", async () => assert.equal((await client.accounts.current()).type, "user")),
    refused("hardware.list", /workers/, "workers take what they have", () => client.hardware.list()),
    refused("collections.list", /none/, "there are none", () => client.collections.list()),
    refused("collections.get", /none/, "there are none", () => client.collections.get("x")),
    trainings("trainings.create", () =>
      client.trainings.create("any", "base", "base", { destination: "any/x", input: {} } as never),
    ),
    trainings("trainings.get", () => client.trainings.get("x")),
    trainings("trainings.list", () => client.trainings.list()),
    trainings("trainings.cancel", () => client.trainings.cancel("x")),
  ];
}

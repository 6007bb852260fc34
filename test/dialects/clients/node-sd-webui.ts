import assert from "node:assert/strict";
import sdwebui from "node-sd-webui";
import sharp from "sharp";
import { type Call, passes } from "./call.ts";

export function nodeSdWebui(url: string): Call[] {
  const client = sdwebui({ apiUrl: url });
  const request = { prompt: "a house", steps: 2, width: 64, height: 64, samplingMethod: "Euler a" as never };
  const white = async () =>
    (
      await sharp({ create: { width: 64, height: 64, channels: 3, background: "#fff" } })
        .png()
        .toBuffer()
    ).toString("base64");
  const controls = async () => ({
    controlNet: [{ inputImageData: await white(), model: "canny", preprocessor: "canny" as never, guessMode: true }],
  });
  const count = (n: number) => (made: { images: string[] }) => assert.equal(made.images.length, n);
  return [
    passes("txt2img", () => client.txt2img(request).then(count(1))),
    passes("txt2img with units", async () =>
      client.txt2img({ ...request, extensions: await controls() }).then(count(2)),
    ),
    passes("img2img", async () => client.img2img({ ...request, imageData: [await white()] }).then(count(1))),
    passes("img2img with units", async () =>
      client.img2img({ ...request, imageData: [await white()], extensions: await controls() }).then(count(2)),
    ),
    passes("pngInfo", async () => {
      const { images } = await client.txt2img(request);
      assert.equal((await client.pngInfo({ imageData: images[0]! })).samplingMethod, "Euler a");
    }),
  ];
}

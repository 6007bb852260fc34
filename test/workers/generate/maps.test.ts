/** Maps that a worker keeps: as long as their picture, their parameters and their network's files are the same. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { encodeImage } from "../../../src/image/encode.ts";
import { chooseAnnotator } from "../../../src/schema/annotator-choice.ts";
import { Maps } from "../../../workers/generate/maps/maps.ts";

const folder = mkdtempSync(join(tmpdir(), "maps-"));
after(() => rmSync(folder, { recursive: true }));

test("a map is kept until its network is replaced, whose map is another", async () => {
  const own = join(folder, "annotators/lineart");
  cpSync(join(import.meta.dirname, "../../fixtures/annotators/neural/lineart"), own, { recursive: true });
  const networks = new Set<unknown>();
  const maps = new Maps(folder, (network) => async (feeds) => {
    networks.add(network);
    const [, , height, width] = Object.values(feeds)[0]!.dims as [number, number, number, number];
    const [output] = (network as unknown as { outputs: { name: string }[] }).outputs;
    const data = new Float32Array(width * height).fill(0.25 * networks.size);
    return { [output!.name]: { dims: [1, 1, height, width], data } };
  });
  const picture = await encodeImage({ width: 8, height: 8, data: new Uint8Array(192) }, "png");
  const level = async () => {
    const task = { choice: chooseAnnotator("lineart_realistic"), picture, mask: null, pose: null, maxPixels: 1e6 };
    const stopping = { turn: async () => {}, signal: new AbortController().signal };
    const { map } = await maps.make(task, ["a picture", null], stopping);
    return map.data[0];
  };
  const first = await level();
  maps.reload();
  assert.equal(await level(), first);
  assert.equal(networks.size, 1, "what has not changed is not opened anew");
  utimesSync(join(own, "model.onnx"), 1, 1);
  maps.reload();
  assert.notEqual(await level(), first);
});

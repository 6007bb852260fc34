/** Images in, over HTTP: as data: URIs, from addresses, and as uploads. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { crc32, deflateSync } from "node:zlib";
import sharp from "sharp";
import { BOUNDS } from "../../src/gateway/bounds.ts";
import { Decoders } from "../../src/gateway/decoding/decoders.ts";
import { ImagesIn } from "../../src/gateway/images-in.ts";
import { Places } from "../../src/gateway/places.ts";
import { Shares } from "../../src/gateway/shares.ts";
import type { Outbound } from "../../src/outbound/client.ts";
import { openStorage } from "../../src/storage/open.ts";
import { Uploads } from "../../src/storage/uploads.ts";
import { conforms } from "../support/conforms.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";
import { temporaryFolder, until } from "../support/processes.ts";

const FACTS = { bytes: 1, width: 1, height: 1, sha256: "" };
const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const folder = new URL("../fixtures/image/decode/", import.meta.url);
const fixture = (name: string) => readFileSync(new URL(name, folder));
const png = fixture("rgb.png");
const uri = (bytes: Uint8Array) => `data:image/png;base64,${Buffer.from(bytes).toString("base64")}`;
const hashOf = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** A server of images on loopback, which the gateway may reach when ALLOW_HOSTS names its `host`. */
async function serve(answer: RequestListener) {
  const paths: string[] = [];
  const server = createServer((request, reply) => {
    paths.push(request.url!);
    answer(request, reply);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => void server.close());
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { host, url: `http://${host}`, paths };
}

function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const framed = Buffer.alloc(body.length + 8);
  framed.writeUInt32BE(data.length);
  framed.set(body, 4);
  framed.writeUInt32BE(crc32(body), body.length + 4);
  return framed;
}

/** The start of a PNG of 8-bit pixels, RGB or grey, that announces this size. */
function pngHeader(width: number, height: number, isGrey = false): Buffer {
  const size = Buffer.alloc(13);
  size.writeUInt32BE(width);
  size.writeUInt32BE(height, 4);
  size.set([8, isGrey ? 0 : 2, 0, 0, 0], 8);
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", size)]);
}

/** PNGs of one black square that differ in what follows their end, which is ignored. */
function squares(side: number, count: number): Buffer[] {
  const pixels = chunk("IDAT", deflateSync(Buffer.alloc((side + 1) * side), { level: 1 }));
  const file = [pngHeader(side, side, true), pixels, chunk("IEND", Buffer.alloc(0))];
  return Array.from({ length: count }, (_, i) => Buffer.concat([...file, Buffer.from(String(i))]));
}

const afterHeader = png.subarray(33);
const gif = Buffer.from(fixture("animation.gif"));
const jpeg = Buffer.from(fixture("420.jpg"));
const frame = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
/** 100 MB of zeros in 100 kB. */
const zeros = deflateSync(Buffer.alloc(100_000_000));

/** What no client gets past the gateway, and what it reads then. */
const BROKEN: [name: string, bytes: Uint8Array, says: RegExp][] = [
  ["nothing", Buffer.alloc(0), /not an image of a known type/],
  ["text", Buffer.from("hello"), /not an image of a known type/],
  ["an SVG that reads a file", Buffer.from('<svg><image href="file:///etc/passwd"/></svg>'), /not an image of a known/],
  ["a PostScript file", Buffer.from("%!PS\n(/etc/passwd) (r) file"), /not an image of a known type/],
  ["a signature alone", png.subarray(0, 8), /damaged or incomplete/],
  ["half a PNG", png.subarray(0, png.length / 2), /damaged or incomplete/],
  ["half a JPEG", jpeg.subarray(0, jpeg.length / 2), /damaged or incomplete/],
  ["half a WebP", fixture("lossy.webp").subarray(0, 100), /damaged or incomplete/],
  ["half a GIF", gif.subarray(0, 100), /damaged or incomplete/],
  ["a PNG of no width", Buffer.concat([pngHeader(0, 9), afterHeader]), /damaged or incomplete/],
  ["a PNG that announces 1.2 GB", Buffer.concat([pngHeader(20_000, 20_000), afterHeader]), /20000×20000/],
  ["a PNG as wide as numbers go", Buffer.concat([pngHeader(0x7fffffff, 1), afterHeader]), /image|pixels/],
  ["a PNG of one row of 30 million", Buffer.concat([pngHeader(3e7, 1), chunk("IDAT", zeros)]), /at most 65535 a side/],
  ["a PNG of 50.4 megapixels", Buffer.concat([pngHeader(7100, 7100), chunk("IDAT", zeros)]), /at most 50000000/],
  [
    "a JPEG that announces 12 GB",
    Buffer.concat([jpeg.subarray(0, frame + 5), Buffer.from([0xff, 0xdc, 0xff, 0xdc]), jpeg.subarray(frame + 9)]),
    /65500×65500/,
  ],
];
const bombInProfile = Buffer.concat([
  png.subarray(0, 33),
  chunk("iCCP", Buffer.concat([Buffer.from("bomb\0\0", "latin1"), zeros])),
  chunk("zTXt", Buffer.concat([Buffer.from("bomb\0\0", "latin1"), zeros])),
  afterHeader,
]);

describe("an image", async () => {
  const gateway = await startGateway(stack, { MAX_IMAGE_BYTES: "200000" });
  await gateway.offer(CATALOG);
  const generate = (image: string) =>
    gateway.http.post("/v1/generations").send({ prompt: "x", controls: [{ controlnet: "canny", image }] });
  const upload = (bytes: Uint8Array, type = "image/png") =>
    gateway.http.post("/v1/uploads").type(type).send(Buffer.from(bytes));

  for (const [name, bytes, says] of BROKEN) {
    test(`that is ${name} is refused, in a request and as an upload`, async () => {
      const inRequest = conforms(await generate(uri(bytes)));
      assert.deepEqual([inRequest.status, inRequest.body.code], [422, "image_undecodable"]);
      assert.equal(inRequest.body.errors[0].path, "controls[0].image");
      assert.match(inRequest.body.errors[0].message, says);
      const asUpload = conforms(await upload(bytes));
      assert.deepEqual([asUpload.status, asUpload.body.code], [422, "image_undecodable"]);
      assert.match(asUpload.body.detail, says);
    });
  }

  test("whose profile and text would unpack to 200 MB costs no such memory", async () => {
    const before = process.memoryUsage().rss;
    assert.ok(conforms(await upload(bombInProfile)).status < 500);
    const megabytes = (process.memoryUsage().rss - before) / 1e6;
    assert.ok(megabytes < 80, `${megabytes} MB`);
  });

  for (const name of readdirSync(folder)) {
    test(`like ${name} is taken, whatever it is called`, async () => {
      const bytes = fixture(name);
      const { status, body } = conforms(await upload(bytes, "image/x-whatever"));
      assert.equal(status, 201);
      const { width, height } = await sharp(bytes)
        .autoOrient()
        .toBuffer({ resolveWithObject: true })
        .then((b) => b.info);
      assert.partialDeepStrictEqual(body, { bytes: bytes.length, width, height, sha256: hashOf(bytes).slice(7) });
    });
  }

  test("that is damaged anywhere is taken or refused, and nothing worse", async () => {
    let random = 1;
    for (const name of ["rgb.png", "420.jpg", "lossy.webp", "animation.gif", "cmyk.jpg", "orientation_6.png"]) {
      for (let round = 0; round < 25; round++) {
        const bytes = Buffer.from(fixture(name));
        for (let i = 0; i < 3; i++) {
          random = (random * 48271) % 0x7fffffff;
          bytes[random % bytes.length]! ^= 1 << (random % 8);
        }
        const { status } = conforms(await upload(bytes));
        assert.ok(status === 201 || status === 422, `${name}, round ${round}: ${status}`);
      }
    }
    assert.equal((await gateway.http.get("/health")).status, 200);
  });
});

describe("an upload", async () => {
  const gateway = await startGateway(stack, { MAX_IMAGE_BYTES: "5000", UPLOAD_TTL: "600" });
  await gateway.offer(CATALOG);
  const upload = (bytes: Uint8Array, type = "image/png") =>
    gateway.http.post("/v1/uploads").type(type).send(Buffer.from(bytes));

  test("can be named wherever a request takes an image, until it expires", async () => {
    const before = Date.now();
    const answer = conforms(await upload(png));
    assert.equal(answer.status, 201);
    const { id, expires_at } = answer.body;
    assert.ok(Math.abs(Date.parse(expires_at) - before - 600_000) < 5000);
    const source = `upload:${id}`;
    const controls = [{ controlnet: "canny", image: [source, source], mask: source }];
    const body = { prompt: "x", num_images: 2, controls, image: source, mask_image: source };
    const generation = conforms(await gateway.http.post("/v1/generations").send(body));
    assert.equal(generation.status, 202);
    const hash = hashOf(png);
    const [control] = generation.body.request.controls;
    assert.deepEqual([control.image, control.mask], [[hash, hash], hash]);
    assert.deepEqual([generation.body.request.image, generation.body.request.mask_image], [hash, hash]);
  });

  test("that is not there is refused by the field that names it", async () => {
    const valid: string = (await upload(png)).body.id;
    for (const id of ["upl_0", `${valid.slice(0, -1)}${valid.endsWith("0") ? "1" : "0"}`, "____etc_passwd"]) {
      const answer = conforms(await gateway.http.post("/v1/generations").send({ prompt: "x", image: `upload:${id}` }));
      assert.deepEqual([answer.status, answer.body.code], [422, "unknown_upload"]);
      assert.equal(answer.body.errors[0].path, "image");
    }
    for (const id of ["", "../x", "a/b"]) {
      const answer = conforms(await gateway.http.post("/v1/generations").send({ prompt: "x", image: `upload:${id}` }));
      assert.equal(answer.body.code, "invalid_request");
    }
  });

  test("of another kind, of too many bytes or of none is refused", async () => {
    const json = await gateway.http.post("/v1/uploads").send({ image: uri(png) });
    assert.deepEqual([conforms(json).status, json.body.code], [400, "not_an_image"]);
    const form = await gateway.http.post("/v1/uploads").type("form").send("a=b");
    assert.deepEqual([conforms(form).status, form.body.code], [400, "not_an_image"]);
    const none = await gateway.http.post("/v1/uploads");
    assert.deepEqual([conforms(none).status, none.body.code], [400, "not_an_image"]);
    const large = await upload(Buffer.concat([png, Buffer.alloc(5000)]));
    assert.deepEqual([conforms(large).status, large.body.code], [413, "body_too_large"]);
  });

  test("that has expired is removed by the gateway", async () => {
    const DATA_DIR = await temporaryFolder(stack);
    const storage = openStorage({ DATA_DIR });
    const ledger = { now: async () => Date.now(), take: async () => {}, giveBack: async () => {} };
    await new Uploads(storage, { UPLOAD_TTL: -1 }, ledger).put("ann", png, FACTS);
    const { id } = await new Uploads(storage, { UPLOAD_TTL: 60 }, ledger).put("ann", png, FACTS);
    await startGateway(stack, { DATA_DIR });
    const left = await until("the sweep", async () => {
      const keys = await storage.list("uploads");
      return keys.length === 1 ? keys : undefined;
    });
    assert.ok(left[0]?.includes(id));
  });

  test("that is refused leaves no file", async () => {
    const files = async () => (await readdir(join(gateway.config.DATA_DIR, "artifacts/uploads"))).length;
    await upload(png);
    const before = await files();
    assert.equal((await upload(png.subarray(0, 100))).status, 422);
    assert.equal(await files(), before);
  });
});

describe("an image from an address", async () => {
  const noise = Buffer.alloc(6000);
  const large = Buffer.concat([png, Buffer.alloc(4900 - png.length)]); // what follows the end of a PNG is ignored
  const answers: Record<string, RequestListener> = {
    "/a.png": (_, reply) => reply.end(png),
    "/wrong-type": (_, reply) => reply.setHeader("content-type", "text/html").end(png),
    "/moved": (_, reply) => reply.writeHead(302, { location: "/a.png" }).end(),
    "/page": (_, reply) => reply.setHeader("content-type", "image/png").end("<html>"),
    "/large": (_, reply) => reply.end(noise),
    "/inside": (_, reply) => reply.writeHead(302, { location: "https://169.254.169.254/latest/" }).end(),
    "/gone": (_, reply) => reply.writeHead(410).end(),
    "/never": () => {},
  };
  const server = await serve((request, reply) => {
    if (request.url!.startsWith("/large-")) reply.end(Buffer.concat([large, Buffer.from(request.url!)]));
    else if (request.url!.startsWith("/endless-")) reply.write(large);
    else answers[request.url!]!(request, reply);
  });
  const gateway = await startGateway(stack, { ALLOW_HOSTS: server.host, MAX_IMAGE_BYTES: "5000" });
  await gateway.offer(CATALOG);
  const generate = (body: object) => gateway.http.post("/v1/generations").send({ prompt: "x", ...body });

  test("is fetched before the request is accepted, once however often it is named", async () => {
    for (const path of ["/a.png", "/moved", "/wrong-type"]) {
      server.paths.length = 0;
      const image = server.url + path;
      const answer = conforms(await generate({ image, controls: [{ controlnet: "canny", image, mask: image }] }));
      assert.equal(answer.status, 202, answer.text);
      assert.equal(answer.body.request.image, hashOf(png));
      assert.equal(server.paths.filter((one) => one === path).length, 1);
    }
  });

  for (const [name, image, status, code, says] of [
    ["by http, of a host that ALLOW_HOSTS does not name", "http://example.com/a.png", 422, "address_refused", /https/],
    ["inside", "https://127.0.0.1/a.png", 422, "address_refused", /public address/],
    ["of the gateway's own Redis", "https://localhost:6379/", 422, "address_refused", /port 6379/],
    ["under a name for this machine", "https://localhost/", 422, "address_refused", /public address/],
    ["that redirects inside", `${server.url}/inside`, 422, "address_refused", /public address/],
    ["with a password", "https://a:b@example.com/", 422, "address_refused", /password/],
    ["of a page", `${server.url}/page`, 422, "image_undecodable", /not an image/],
    ["that is gone", `${server.url}/gone`, 422, "image_unavailable", /answered 410/],
    ["with more than MAX_IMAGE_BYTES", `${server.url}/large`, 413, "image_too_large", /5000 bytes/],
  ] as const) {
    test(`${name} is refused by the field that names it`, async () => {
      const answer = conforms(
        await generate({ num_images: 2, controls: [{ controlnet: "canny", image: [uri(png), image] }] }),
      );
      assert.deepEqual([answer.status, answer.body.code], [status, code], answer.text);
      const [{ path, message }] = answer.body.errors;
      assert.equal(path, "controls[0].image[1]");
      assert.match(message, says);
    });
  }

  test("is not waited for when another image of the request is refused", async () => {
    const begin = performance.now();
    const answer = conforms(await generate({ image: `${server.url}/never`, mask_image: "https://127.0.0.1/" }));
    assert.equal(answer.status, 422);
    assert.ok(performance.now() - begin < 5000);
  });

  test("counts with all others of the request: together they may have four times MAX_IMAGE_BYTES", async () => {
    const images = (count: number) => Array.from({ length: count }, (_, i) => `${server.url}/large-${i}`);
    const request = (n: number) => generate({ num_images: n, controls: [{ controlnet: "canny", image: images(n) }] });
    assert.equal(conforms(await request(4)).status, 202);
    const answer = conforms(await request(5));
    assert.deepEqual([answer.status, answer.body.code], [413, "image_too_large"]);
    assert.match(answer.body.errors[0].message, /20000 bytes together/);
  });

  test("counts piece by piece as it comes, with all others", { timeout: 12_000 }, async () => {
    const image = Array.from({ length: 5 }, (_, i) => `${server.url}/endless-${i}`);
    const answer = conforms(await generate({ num_images: 5, controls: [{ controlnet: "canny", image }] }));
    assert.deepEqual([answer.status, answer.body.code], [413, "image_too_large"]);
    assert.match(answer.body.errors[0].message, /20000 bytes together/);
  });

  test("that is refused leaves nothing in Redis", async () => {
    const before = await gateway.connection.keys("generation:*");
    await generate({ image: "https://127.0.0.1/" });
    assert.deepEqual((await gateway.connection.keys("generation:*")).sort(), before.sort());
  });
});

const large = squares(7000, 5);

describe("the images of a request", async () => {
  const gateway = await startGateway(stack);
  await gateway.offer(CATALOG);
  const generate = (image: string[]) =>
    gateway.http
      .post("/v1/generations")
      .send({ prompt: "x", num_images: image.length, controls: [{ controlnet: "canny", image }] });

  test("may have four times the pixels of the largest together, and no more", async () => {
    const answer = conforms(await generate(large.map(uri)));
    assert.deepEqual([answer.status, answer.body.code], [422, "too_many_pixels"], answer.text);
    const [{ path, message }] = answer.body.errors;
    assert.match(path, /^controls\[0\]\.image\[\d\]$/);
    assert.match(message, /of 7000×7000, the images have 245000000 pixels together: at most 200000000 are allowed/);
  });

  test("are counted with the uploads among them", async () => {
    const { id } = conforms(await gateway.http.post("/v1/uploads").type("image/png").send(large[0])).body;
    const answer = conforms(await generate([`upload:${id}`, ...large.slice(1).map(uri)]));
    assert.deepEqual([answer.status, answer.body.code], [422, "too_many_pixels"], answer.text);
  });

  test("that are the same one by other names count once", async () => {
    const base64 = large[0]!.toString("base64");
    assert.equal(conforms(await generate([..."abcde"].map((name) => `data:${name};base64,${base64}`))).status, 202);
  });
});

const decoders = new Decoders(BOUNDS);
stack.defer(() => decoders.close());

/** What takes images, with stand-ins for the network and the uploads. */
function imagesIn({ get, find }: { get?: Outbound["get"]; find?: Uploads["get"] }) {
  const held = new Shares(BOUNDS.heldBytes, BOUNDS.heldBytesOfOwner, "bytes");
  const parts = {
    outbound: { get } as Outbound,
    uploads: { get: find } as unknown as Uploads,
    decoders,
    held,
    kept: async () => undefined,
  };
  return new ImagesIn({ MAX_IMAGE_BYTES: 1e6 }, parts);
}
const tick = () => new Promise(setImmediate);
async function ticks(isOver: () => boolean) {
  for (let i = 0; i < 1000 && !isOver(); i++) await tick();
}
const named = (sources: string[]) => new Map(sources.map((source, i) => [`image[${i}]`, source]));

describe("whoever sends many images", () => {
  const many = squares(1500, 40).map(uri);

  test("is refused before more uploads are read than may be in memory at once", async () => {
    let reads = 0;
    const images = imagesIn({ find: async () => Buffer.concat([png, Buffer.alloc(9e5), Buffer.from([reads++])]) });
    const sources = Array.from({ length: 74 }, (_, i) => `upload:${i}`);
    await assert.rejects(images.take(named(sources), "ann"), { status: 413, code: "image_too_large" });
    assert.equal(reads, 5); // the fifth is too much
  });

  test("by their addresses is refused before more are asked for than are under way at once", async () => {
    let asked = 0;
    const get: Outbound["get"] = async (_, { signal, onBytes }) => {
      signal!.throwIfAborted();
      asked++;
      await tick();
      onBytes!(9e5);
      return png;
    };
    const sources = Array.from({ length: 74 }, (_, i) => `https://large.test/${i}`);
    await assert.rejects(imagesIn({ get }).take(named(sources), "ann"), { status: 413, code: "image_too_large" });
    await ticks(() => false);
    assert.ok(asked <= 5 + 8, `${asked} of 74 were asked for`); // the fifth is too much, 8 more are under way
  });

  test("from slow servers has places of his own, and others have theirs", { timeout: 20_000 }, async () => {
    const slow = Promise.withResolvers<Buffer>();
    let asked = 0;
    const get = (address: string) => {
      if (address === "https://fast.test/") return Promise.resolve(png);
      asked++;
      return slow.promise;
    };
    const images = imagesIn({ get });
    const greedy = Array.from({ length: 40 }, () => images.take(named(["https://slow.test/"]), "greedy"));
    const taken = await images.take(named(["https://fast.test/"]), "ann");
    assert.equal(taken.get("image[0]")?.hash, hashOf(png));
    assert.equal(asked, 8);
    slow.resolve(png);
    await Promise.all(greedy);
    assert.equal(asked, 40);
  });

  test("hears that he should come again when his turn does not come within a minute", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const slow = Promise.withResolvers<Buffer>();
    let asked = 0;
    const get = () => {
      asked++;
      return slow.promise;
    };
    const images = imagesIn({ get });
    const all = Array.from({ length: 9 }, () => images.take(named(["https://slow.test/"]), "greedy"));
    const last = assert.rejects(all.pop()!, { name: "NotReady" });
    await ticks(() => asked === 8);
    t.mock.timers.tick(60_000);
    await last; // at once, and not when its turn would have come
    slow.resolve(png);
    await Promise.allSettled(all);
  });

  test("and who uploads them as well", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const images = imagesIn({});
    const all = large.slice(0, 3).map((bytes) => images.check(bytes, "greedy")); // the first takes longer than all ticks
    const last = assert.rejects(all.pop()!, { name: "NotReady" });
    await ticks(() => false);
    t.mock.timers.tick(59_999);
    t.mock.timers.tick(1);
    await last;
    await Promise.allSettled(all);
  });

  test("has 15 s for all addresses of a request, from when its turn has come", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    let asked = 0;
    const get: Outbound["get"] = async (_, { signal }) => {
      asked++;
      await new Promise((resolve) => signal!.addEventListener("abort", resolve));
      throw signal!.reason;
    };
    const images = imagesIn({ get });
    const address = (i: number) => named([`https://slow.test/${i}`]);
    const all = Array.from({ length: 9 }, (_, i) =>
      assert.rejects(images.take(address(i), "ann"), { name: "TimeoutError" }),
    );
    await ticks(() => asked === 8);
    t.mock.timers.tick(15_000);
    await ticks(() => asked === 9);
    t.mock.timers.tick(15_000);
    await Promise.all(all);
  });

  test("does not make others wait until all of his are checked", async () => {
    const images = imagesIn({});
    await Promise.all(["greedy", "ann"].map((owner) => images.take(named([uri(png)]), owner))); // both decoders run
    const greedy = images.take(named(many), "greedy").then(() => "greedy");
    const ann = images.take(named([uri(jpeg)]), "ann").then(() => "ann");
    assert.equal(await Promise.race([greedy, ann]), "ann");
    await greedy;
  });

  test("has none of them checked any more when one cannot be had", async () => {
    const images = imagesIn({ find: async () => undefined });
    const bob = images.take(named(many), "bob").then(() => "bob");
    await assert.rejects(images.take(named([...many, "upload:0"]), "ann"), { code: "unknown_upload" });
    const ann = images.take(named([uri(png)]), "ann").then(() => "ann"); // behind the forty, were they still to come
    assert.equal(await Promise.race([bob, ann]), "ann");
    await bob;
  });
});

describe("turns", () => {
  test("go round by owner, and to nobody who has given up", async () => {
    const turns = new Places(1, 1);
    const order: string[] = [];
    const away = new AbortController();
    const take = (owner: string, what: string, signal?: AbortSignal) =>
      turns.take(
        owner,
        async () => {
          order.push(what);
          await tick();
        },
        signal,
      );
    const all = [take("a", "a1"), take("a", "a2"), take("a", "a3", away.signal), take("a", "a4"), take("b", "b1")];
    away.abort();
    const ends = await Promise.allSettled(all);
    assert.deepEqual(order, ["a1", "b1", "a2", "a4"]);
    assert.deepEqual(
      ends.map(({ status }) => status),
      ["fulfilled", "fulfilled", "rejected", "fulfilled", "fulfilled"],
    );
  });

  test("leave nothing behind of owners who have none", async () => {
    setFlagsFromString("--expose-gc");
    const gc: () => void = runInNewContext("gc");
    const turns = new Places(32, 8);
    const megabytes = async (owners: number) => {
      for (let i = 0; i < owners; i++) {
        await turns.take(`${owners} ${i}`, () => (i % 2 ? Promise.reject() : Promise.resolve())).catch(() => {});
      }
      gc();
      return process.memoryUsage().heapUsed / 1e6;
    };
    const before = await megabytes(100);
    const grown = (await megabytes(5000)) - before;
    assert.ok(grown < 5, `${grown} MB`);
  });
});

test("a CMYK image is checked without its colours being computed on the gateway's own thread", async () => {
  const small = sharp(fixture("cmyk.jpg")).pipelineColourspace("cmyk");
  const large = small.resize(4000, 4000, { fit: "fill", kernel: "nearest" });
  const cmyk = await large.toColourspace("cmyk").jpeg().toBuffer();
  assert.equal((await sharp(cmyk).metadata()).space, "cmyk");
  const images = imagesIn({});
  await images.check(png, "ann"); // so that a process is there
  const before = performance.eventLoopUtilization();
  const { width, height } = await images.check(cmyk, "ann");
  assert.deepEqual({ width, height }, { width: 4000, height: 4000 });
  const { active } = performance.eventLoopUtilization(before);
  assert.ok(active < 100, `${active} ms`); // computed there they take 300
});

test("a photo of 5 MB as a data: URI is taken, with the limits as they are", async () => {
  const noise = Buffer.alloc(3 * 2500 * 2500);
  for (let i = 0, state = 1; i < noise.length; i++) {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    noise[i] = state >> 16;
  }
  const raw = { width: 2500, height: 2500, channels: 3 as const };
  const photo = await sharp(noise, { raw }).jpeg({ quality: 92 }).toBuffer();
  assert.ok(photo.length > 5e6, `${photo.length} bytes`);
  const gateway = await startGateway(stack);
  await gateway.offer(CATALOG);
  const controls = [{ controlnet: "canny", image: `data:image/jpeg;base64,${photo.toString("base64")}` }];
  assert.equal(conforms(await gateway.http.post("/v1/generations").send({ prompt: "x", controls })).status, 202);
});

test("the same image gives the same picture as a data: URI, from an address and as an upload", async () => {
  const server = await serve((_, reply) => reply.end(png));
  const gateway = await startGateway(stack, { ALLOW_HOSTS: server.host });
  await gateway.work();
  const { id } = conforms(await gateway.http.post("/v1/uploads").type("image/png").send(png)).body;
  const made = [];
  for (const image of [uri(png), `${server.url}/a.png`, `upload:${id}`]) {
    const body = { prompt: "a house", num_inference_steps: 2, seed: 7, controls: [{ controlnet: "canny", image }] };
    const answer = conforms(await gateway.http.post("/v1/generations").set("Prefer", "wait=60").send(body));
    assert.equal(answer.body.status, "succeeded", answer.text);
    made.push({ request: answer.body.request, sha256: answer.body.images[0].sha256 });
  }
  assert.deepEqual(made[1], made[0]);
  assert.deepEqual(made[2], made[0]);
});

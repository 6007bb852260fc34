import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { DIALECTS, readConfig, readConfigWithRedis } from "../../src/config/config.ts";
import { ConfigError } from "../../src/errors.ts";

test("without a single variable the service listens on loopback with the documented limits", () => {
  const { HOST, PORT, PUBLIC_URL, MAX_PIXELS, MAX_BODY_BYTES, MAX_IMAGE_BYTES } = readConfig({});
  assert.deepEqual(
    { HOST, PORT, PUBLIC_URL, MAX_PIXELS, MAX_BODY_BYTES, MAX_IMAGE_BYTES },
    {
      HOST: "127.0.0.1",
      PORT: 8080,
      PUBLIC_URL: "http://127.0.0.1:8080",
      MAX_PIXELS: 2048 ** 2,
      MAX_BODY_BYTES: 32 * 2 ** 20,
      MAX_IMAGE_BYTES: 16 * 2 ** 20,
    },
  );
});

test("PUBLIC_URL follows HOST and PORT, brackets an IPv6 address, and loses a final slash", () => {
  assert.equal(readConfig({ HOST: "::1", PORT: "9" }).PUBLIC_URL, "http://[::1]:9");
  assert.equal(readConfig({ PUBLIC_URL: "https://example.com/pictures/" }).PUBLIC_URL, "https://example.com/pictures");
});

test("docs/operating.md has every variable", () => {
  const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
  const [, settings] = /\n## Settings\n(.*?)\n## /s.exec(read("docs/operating.md"))!;
  for (const [, name] of read("src/config/config.ts").matchAll(/^ {2}([A-Z0-9_]+):(?!.*;$)/gm)) {
    assert.match(settings!, new RegExp(`^\\|.*\`${name}\`.*\\|$`, "m"));
  }
});

test("an empty variable counts as unset", () => {
  assert.equal(readConfig({ PORT: "", REDIS_URL: "" }).PORT, 8080);
});

for (const [name, value, says] of [
  ["PORT", "eighty", /PORT=eighty/],
  ["PORT", "70000", /PORT=70000/],
  ["HOST", "0.0.0.0", /HOST=0\.0\.0\.0: must be a loopback address/],
  ["PUBLIC_URL", "example.com", /PUBLIC_URL=example\.com/],
  ["REDIS_URL", "localhost:6379", /REDIS_URL=localhost:6379: must start with redis:/],
  ["EXECUTION_PROVIDER", "gpu", /EXECUTION_PROVIDER=gpu/],
  ["PRECISION", "int4", /PRECISION=int4: .*float32.*int8/],
  ["API_KEYS", "ann:short", /API_KEYS=…: entry 1 must be name:key/],
  ["API_KEYS", "ann:long-enough-for-a-key,long-enough-but-without-name", /API_KEYS=…: entry 2 must be name:key/],
  ["API_KEYS", "ann:long-enough-for-a-key:black", /API_KEYS=…: entry 1 must be .* off, flag, blank/],
  ["SAFETY_CHECKER", "on", /SAFETY_CHECKER=on: .*"off"\|"flag"\|"blank"/],
  ["API_KEYS_FILE", "/nowhere/keys.json", /API_KEYS_FILE=.*ENOENT/],
  ["API_KEYS_FILE", "package.json", /API_KEYS_FILE=package.json: .*array/],
  ["MAX_IMAGE_BYTES", "-1", /MAX_IMAGE_BYTES=-1/],
] as const) {
  test(`${name}=${value} is refused by name`, () => {
    assert.throws(
      () => readConfig({ [name]: value }),
      (error: Error) => error instanceof ConfigError && says.test(error.message),
    );
  });
}

test("with API keys the service may listen everywhere, and no message tells a key", () => {
  const { API_KEYS, HOST } = readConfig({ API_KEYS: "ann:the-key-of-ann-is-this", HOST: "0.0.0.0" });
  assert.equal(HOST, "0.0.0.0");
  assert.equal(JSON.stringify(API_KEYS).includes("the-key-of-ann"), false);
  assert.throws(
    () => readConfig({ API_KEYS: "ann the-key-of-ann-is-this" }),
    (error: Error) => error instanceof ConfigError && !error.message.includes("the-key-of-ann"),
  );
});

test("a process that is started alone says that it needs REDIS_URL", () => {
  assert.throws(() => readConfigWithRedis({}), /REDIS_URL is not set/);
});

test("DIALECTS: all on loopback, none elsewhere, and those that are named", () => {
  const elsewhere = { HOST: "0.0.0.0", API_KEYS: "me:0123456789abcdef" };
  assert.deepEqual(readConfig({}).DIALECTS, DIALECTS);
  assert.deepEqual(readConfig(elsewhere).DIALECTS, []);
  assert.deepEqual(readConfig({ ...elsewhere, DIALECTS: "openai" }).DIALECTS, ["openai"]);
  assert.deepEqual(readConfig({ DIALECTS: "none" }).DIALECTS, []);
  assert.throws(() => readConfig({ DIALECTS: "comfyui" }), /DIALECTS=comfyui/);
});

test("a certificate without its key is refused, and the reverse", () => {
  for (const name of ["C2PA_CERT", "C2PA_KEY"]) {
    assert.throws(() => readConfig({ [name]: "/a.pem" }), /C2PA_CERT and C2PA_KEY: one is set and the other is not/);
  }
});

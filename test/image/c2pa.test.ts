/** Signed manifests in pictures: read back, the same each time, and refused at the start where they would not be valid. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { describe, test } from "node:test";
import { KeyUsageFlags } from "@peculiar/x509";
import { PNG } from "@trustnxt/c2pa-ts/asset";
import { SuperBox } from "@trustnxt/c2pa-ts/jumbf";
import { type ActionAssertion, AssertionLabels, ManifestStore } from "@trustnxt/c2pa-ts/manifest";
import sharp from "sharp";
import { checkManifest, openSigner } from "../../src/image/c2pa/sign.ts";
import { encodeImage } from "../../src/image/encode.ts";
import { withText } from "../../src/image/png-text.ts";
import { readProvenance, xmpOf } from "../../src/image/provenance.ts";
import { GenerationRequest, OutputFormat } from "../../src/schema/generation-request.ts";
import { credential } from "../support/credential.ts";

const data = Uint8Array.from({ length: 3 * 64 * 48 }, (_, i) => (i * i) % 251);
const request = (output_format: OutputFormat) =>
  GenerationRequest.parse({
    ...{ model: "base", prompt: "a house", width: 64, height: 48, scheduler: "ddim", seed: 7, controls: [] },
    ...{ image: null, mask_image: null, strength: null, output_format },
  });
const fileOf = (format: OutputFormat, mark: "full" | "off") =>
  encodeImage({ width: 64, height: 48, data }, format, xmpOf(mark, request(format), 0));
const own = await credential();
const sign = await openSigner(own);

for (const format of OutputFormat.options) {
  describe(format, () => {
    for (const mark of ["full", "off"] as const) {
      test(`PROVENANCE=${mark}: the manifest is valid, pixels and the mark stay, the same picture gives the same file`, async () => {
        const plain = await fileOf(format, mark);
        const signed = await sign(plain, format);
        assert.deepEqual(await checkManifest(signed, format), []);
        assert.deepEqual(await sign(plain, format), signed);
        assert.deepEqual(await sharp(signed).raw().toBuffer(), await sharp(plain).raw().toBuffer());
        assert.deepEqual(await readProvenance(signed), await readProvenance(plain));
        assert.ok(signed.length - plain.length < 4096, `${signed.length - plain.length} bytes more`);
      });
    }

    test("a byte of the picture changed is seen", async () => {
      const signed = Buffer.from(await sign(await fileOf(format, "full"), format));
      const at = format === "webp" ? 200 : signed.length - 40; // its manifest is at the end
      signed[at]! ^= 1;
      assert.deepEqual(await checkManifest(signed, format), ["assertion.dataHash.mismatch"]);
    });
  });
}

test("it says that the service has created it by a trained algorithm, and no time", async () => {
  const signed = await sign(await fileOf("png", "off"), "png");
  const jumbf = new PNG(signed).getManifestJUMBF()!;
  const { assertions, claim, signature } = ManifestStore.read(
    SuperBox.fromBuffer(new Uint8Array(jumbf)),
  ).getActiveManifest()!;
  const [actions] = assertions!.getAssertionsByLabel(AssertionLabels.actionsV2) as ActionAssertion[];
  assert.partialDeepStrictEqual(actions!.actions, [
    {
      action: "c2pa.created",
      digitalSourceType: "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
      softwareAgent: { name: "controlnet-service" },
    },
  ]);
  assert.equal(claim!.claimGeneratorName, "controlnet-service");
  assert.equal(signature!.signatureData.timestamp, undefined);
});

test("a text that is added takes the manifest out, which would not be valid any more", async () => {
  const plain = Buffer.from(await fileOf("png", "full"));
  const signed = await sign(plain, "png");
  assert.deepEqual(withText(Buffer.from(signed), "parameters", "a house"), withText(plain, "parameters", "a house"));
});

describe("what could not sign a valid picture is said at the start", () => {
  const ecdsa = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
  const other = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  const cases: [name: string, what: () => Promise<{ certificate: string; key: string }>, says: RegExp][] = [
    ["a key that is none", async () => ({ ...own, key: "hello" }), /^Error: C2PA_KEY: no private key in PEM/],
    [
      "a certificate that is none",
      async () => ({ ...own, certificate: own.key }),
      /^Error: C2PA_CERT: no certificate in PEM/,
    ],
    [
      "the key of another",
      async () => ({ ...own, key: other }),
      /^Error: C2PA_CERT: the first .* not that of the key in C2PA_KEY/,
    ],
    [
      "a key whose signatures differ each time",
      () => credential({ algorithm: ecdsa }),
      /^Error: C2PA_KEY: it is of type ec; only Ed25519/,
    ],
    [
      "a certificate that has ended",
      () => credential({ valid: [-30, -1] }),
      /^Error: C2PA_CERT: .*signingCredential\.expired/,
    ],
    [
      "one that is signed by itself",
      () => credential({ subject: "CN=Authority" }),
      /^Error: C2PA_CERT: .*signingCredential\.invalid.*signed by another/,
    ],
    [
      "one for other things",
      () => credential({ usage: KeyUsageFlags.keyAgreement }),
      /^Error: C2PA_CERT: .*signingCredential\.invalid/,
    ],
  ];
  for (const [name, what, says] of cases) {
    test(name, async () => {
      await assert.rejects(openSigner(await what()), says);
    });
  }
});

/**
 * A signed C2PA manifest in a picture's file (C2PA specification 2.1): that this service has created it by a trained algorithm,
 * and a hash of all the rest of the file. No time is in it, its names follow from the file, and Ed25519 signs the same bytes
 * in the same way: the same picture gives the same file.
 */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { type Asset, JPEG, PNG } from "@trustnxt/c2pa-ts/asset";
import { CoseAlgorithmIdentifier, type Signer } from "@trustnxt/c2pa-ts/cose";
import { SuperBox } from "@trustnxt/c2pa-ts/jumbf";
import {
  ActionAssertion,
  ActionType,
  AssertionLabels,
  C2PA_URN_PREFIX_V2,
  ClaimVersion,
  DataHashAssertion,
  DigitalSourceType,
  ManifestStore,
} from "@trustnxt/c2pa-ts/manifest";
import type { OutputFormat } from "../../schema/generation-request.ts";
import { WebP } from "./webp.ts";

/** Certificates, the signer's first, and its key, as PEM. */
export interface Credential {
  readonly certificate: string;
  readonly key: string;
}

const NAME = "controlnet-service";
/** Zeros that the signature, and the place of the manifest, take the room of: both lengths stay of one byte in CBOR. */
const PADDING = 200;

const ASSETS: Record<OutputFormat, new (file: Uint8Array) => Asset> = { png: PNG, jpeg: JPEG, webp: WebP };

/** A UUID in the form of version 4, of a hash. */
function uuidOf(hash: Buffer): string {
  const bytes = Buffer.from(hash.subarray(0, 16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** @throws Error that says which of the two is wrong, and how */
function readCredential({ certificate, key }: Credential): Signer {
  let own: KeyObject;
  try {
    own = createPrivateKey(key);
  } catch (error) {
    throw new Error(`C2PA_KEY: no private key in PEM: ${(error as Error).message}`, { cause: error });
  }
  if (own.asymmetricKeyType !== "ed25519") {
    const reason = "only Ed25519 keys are taken, whose signature of the same bytes is the same each time";
    throw new Error(`C2PA_KEY: it is of type ${own.asymmetricKeyType}; ${reason}`);
  }
  const [first, ...chain] = certificate.match(PEM) ?? [];
  if (first === undefined) throw new Error("C2PA_CERT: no certificate in PEM");
  try {
    const { publicKey } = new X509Certificate(first);
    const of = (one: KeyObject) => one.export({ type: "spki", format: "der" });
    if (!of(publicKey).equals(of(createPublicKey(own)))) {
      throw new Error("the first certificate is not that of the key in C2PA_KEY");
    }
    return {
      sign: async (payload) => sign(null, payload, own),
      certificate: new x509.X509Certificate(first),
      chainCertificates: chain.map((one) => new x509.X509Certificate(one)),
      algorithm: CoseAlgorithmIdentifier.Ed25519,
    };
  } catch (error) {
    throw new Error(`C2PA_CERT: ${(error as Error).message}`, { cause: error });
  }
}

/** Adds the manifest to a picture's file. */
async function signFile(signer: Signer, file: Uint8Array, format: OutputFormat): Promise<Uint8Array> {
  const asset = new ASSETS[format](file);
  const hash = createHash("sha256").update(file).digest();
  const store = new ManifestStore();
  const manifest = store.createManifest({
    claimVersion: ClaimVersion.V2,
    assetFormat: asset.mimeType,
    instanceID: `xmp:iid:${uuidOf(hash)}`,
    defaultHashAlgorithm: "SHA-256",
    signer,
  });
  manifest.label = `${C2PA_URN_PREFIX_V2}${uuidOf(createHash("sha256").update(hash).digest())}`;
  manifest.claim!.claimGeneratorName = NAME;
  manifest.claim!.claimGeneratorVersion = undefined;
  manifest.signature!.signatureData.paddingLength = PADDING;

  const actions = new ActionAssertion();
  actions.label = AssertionLabels.actionsV2;
  actions.actions.push({
    action: ActionType.C2paCreated,
    digitalSourceType: DigitalSourceType.TrainedAlgorithmicMedia,
    softwareAgent: { name: NAME },
  });
  manifest.addAssertion(actions);
  const binding = DataHashAssertion.create("SHA-256", PADDING);
  manifest.addAssertion(binding);

  // A RIFF chunk of an odd size has a byte behind it, which verifiers take for a part of the picture.
  binding.paddingLength += store.measureSize() % 2;

  await asset.ensureManifestSpace(store.measureSize());
  await binding.updateWithAsset(asset);
  await manifest.sign(signer);
  await asset.writeManifestJUMBF(store.getBytes());
  return new Uint8Array(await asset.getDataRange());
}

/** What is wrong with the manifest of a file, by the codes of the specification; empty = nothing. @throws Error when it has none */
export async function checkManifest(file: Uint8Array, format: OutputFormat): Promise<string[]> {
  const asset = new ASSETS[format](file);
  const jumbf = asset.getManifestJUMBF();
  if (jumbf === undefined) throw new Error("the file has no C2PA manifest");
  const { statusEntries } = await ManifestStore.read(SuperBox.fromBuffer(new Uint8Array(jumbf))).validate(asset);
  return statusEntries.filter(({ success }) => success === false).map(({ code, explanation }) => explanation ?? code);
}

/** A PNG of one pixel. */
const PIXEL = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

export type SignPicture = (file: Uint8Array, format: OutputFormat) => Promise<Uint8Array>;

/** @throws Error that names C2PA_CERT or C2PA_KEY when pictures signed so would not be valid */
export async function openSigner(credential: Credential): Promise<SignPicture> {
  const signer = readCredential(credential);
  const wrong = await checkManifest(await signFile(signer, PIXEL, "png"), "png");
  if (wrong.length > 0) {
    const needs =
      "it must be of version 3, now valid, signed by another, with an authority key identifier, a critical key usage of digitalSignature alone and an extended key usage such as emailProtection";
    throw new Error(`C2PA_CERT: what it signs is not valid (${wrong.join(", ")}): ${needs}`);
  }
  return (file, format) => signFile(signer, file, format);
}

/** A certificate for signing pictures, with its key, made at the time of the test: nothing secret lies in the repository. */
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import type { Credential } from "../../src/image/c2pa/sign.ts";

const DAY_MS = 24 * 3600 * 1000;

interface Options {
  readonly subject?: string;
  readonly algorithm?: "Ed25519" | { name: "ECDSA"; namedCurve: "P-256"; hash: "SHA-256" };
  /** Days from now that it begins and ends. */
  readonly valid?: readonly [number, number];
  readonly usage?: x509.KeyUsageFlags;
}

const pem = (label: string, der: ArrayBuffer) =>
  `-----BEGIN ${label}-----\n${Buffer.from(der).toString("base64")}\n-----END ${label}-----\n`;

/** Signed by an authority of its own, which comes behind it. */
export async function credential({
  subject = "CN=Pictures",
  algorithm = "Ed25519",
  valid = [-1, 365],
  usage = x509.KeyUsageFlags.digitalSignature,
}: Options = {}): Promise<Credential> {
  const pair = (of: Options["algorithm"]) =>
    webcrypto.subtle.generateKey(of as "Ed25519", true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;
  const [authority, own] = [await pair("Ed25519"), await pair(algorithm)];
  const [notBefore, notAfter] = valid.map((days) => new Date(Date.now() + days * DAY_MS)) as [Date, Date];
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    ...{ serialNumber: "01", name: "CN=Authority", keys: authority, signingAlgorithm: { name: "Ed25519" } },
    ...{ notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + 365 * DAY_MS) },
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(authority.publicKey),
    ],
  });
  const certificate = await x509.X509CertificateGenerator.create({
    ...{ serialNumber: "02", subject, issuer: root.subject, notBefore, notAfter, publicKey: own.publicKey },
    ...{ signingKey: authority.privateKey, signingAlgorithm: { name: "Ed25519" } },
    extensions: [
      new x509.KeyUsagesExtension(usage, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.emailProtection]),
      await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey),
    ],
  });
  return {
    certificate: certificate.toString("pem"),
    key: pem("PRIVATE KEY", await webcrypto.subtle.exportKey("pkcs8", own.privateKey)),
  };
}

/** Addresses of pictures that are opened without a key until they expire: `?expires=<seconds since 1970>&signature=<HMAC of path and time>`. */
import { createHmac, timingSafeEqual } from "node:crypto";

/** For how long a link is good at least, in seconds; at most twice as long. */
export const LINK_SECONDS = 3600;

const sign = (secret: string, path: string, expires: string) =>
  createHmac("sha256", secret).update(`${path}\n${expires}`).digest("base64url");

/** The path with its signature, which a query of its own is no part of. Within an hour it is the same each time, so that browsers find what they keep. @param now in ms */
export function signedPath(secret: string, path: string, now: number): string {
  const expires = String((Math.floor(now / 1000 / LINK_SECONDS) + 2) * LINK_SECONDS);
  const [name] = path.split("?");
  return `${path}${path === name ? "?" : "&"}expires=${expires}&signature=${sign(secret, name!, expires)}`;
}

/** Why the link does not open the path; null when it does. */
export function whyClosed(
  secret: string,
  path: string,
  { expires, signature }: { expires: string; signature: string },
  now: number,
): "forged" | "expired" | null {
  const [wanted, sent] = [Buffer.from(sign(secret, path, expires)), Buffer.from(signature)];
  if (wanted.length !== sent.length || !timingSafeEqual(wanted, sent)) return "forged";
  return Number(expires) * 1000 > now ? null : "expired";
}

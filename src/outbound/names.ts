/** What names stand for, asked so that mute name servers hold up nobody else. */
import type { LookupAddress } from "node:dns";
import { lookup, Resolver } from "node:dns/promises";

/** How long the IPv6 addresses of a name are waited for when its IPv4 addresses are known, or the reverse: some servers never tell. */
const SECOND_ANSWER_MS = 500;

/** Who says what a name stands for. `system` (getaddrinfo) also reads /etc/hosts, but the whole process has two or so at once. */
export interface Names {
  system(hostname: string): Promise<LookupAddress[]>;
  nameServers(hostname: string, signal: AbortSignal): Promise<LookupAddress[]>;
}

export const NAMES: Names = {
  system: (hostname) => lookup(hostname, { all: true }),
  nameServers: askNameServers,
};

/**
 * All addresses that the name servers know for a name; search domains and /etc/hosts are for names of the inside. c-ares
 * asks any number of questions at once and can be stopped, which getaddrinfo cannot.
 * @throws the signal's reason, or an error with a code of c-ares
 */
export async function askNameServers(
  hostname: string,
  signal: AbortSignal,
  resolver = new Resolver({ timeout: 1000, tries: 3 }), // its own: `cancel` stops all that a resolver asks
): Promise<LookupAddress[]> {
  signal.throwIfAborted();
  const cancel = () => resolver.cancel();
  signal.addEventListener("abort", cancel);
  const asked = [resolver.resolve4(hostname), resolver.resolve6(hostname)] as const;
  const second = () => setTimeout(cancel, SECOND_ANSWER_MS).unref();
  Promise.any(asked).then(second, () => {});
  const [v4, v6] = await Promise.allSettled(asked);
  signal.removeEventListener("abort", cancel);
  signal.throwIfAborted();
  if (v4.status === "rejected" && v6.status === "rejected") throw v4.reason;
  return [
    ...(v4.status === "fulfilled" ? v4.value : []).map((address) => ({ address, family: 4 })),
    ...(v6.status === "fulfilled" ? v6.value : []).map((address) => ({ address, family: 6 })),
  ];
}

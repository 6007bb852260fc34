/** fetch that reaches a hub and where it redirects to, and nothing else. The token goes to the hub alone. */

/** What a hub, or a repository of it, does not give; said to the user as it is. */
export class HubError extends Error {}

const MOST_REDIRECTS = 5;
/** For an answer that has no signal of its own. */
const PATIENCE_MS = 60_000;

/** @throws HubError for an address that is neither the hub's nor one that it has redirected to */
export function hubFetch(endpoint: string, token: string | undefined): typeof fetch {
  const home = new URL(endpoint);
  return async (input, init = {}) => {
    let url = new URL(input instanceof Request ? input.url : input);
    if (url.origin !== home.origin) {
      throw new HubError(`${url.origin} is not the hub (${home.origin}), so it is not asked`);
    }
    for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
      const headers = new Headers(init.headers);
      headers.delete("Authorization");
      if (token !== undefined && url.origin === home.origin) headers.set("Authorization", `Bearer ${token}`);
      const signal = init.signal ?? AbortSignal.timeout(PATIENCE_MS);
      const response = await fetch(url, { ...init, headers, signal, redirect: "manual" });
      const location = response.headers.get("location");
      if (location === null || response.status < 300 || response.status > 399) return response;
      await response.body?.cancel();
      const next = new URL(location, url);
      if (next.protocol !== "https:" && next.protocol !== home.protocol) {
        throw new HubError(`${url.host} redirects to ${next.origin}: only https is followed`);
      }
      url = next;
    }
    throw new HubError(`${home.host} redirects more than ${MOST_REDIRECTS} times`);
  };
}

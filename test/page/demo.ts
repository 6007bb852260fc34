/** The demo's service and the browser that all the page's tests share. */
import { after } from "node:test";
import type { Generation } from "../../src/schema/generation.ts";
import { startBrowser, startDemo } from "../support/browser.ts";

export const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

export const service = await startDemo(stack);
export const browser = await startBrowser(stack);
export const url = `${service.config.PUBLIC_URL}/`;

/** The latest generation as the service tells it. */
export const latest = async () => (await service.http.get("/v1/generations?limit=1")).body.data[0] as Generation;

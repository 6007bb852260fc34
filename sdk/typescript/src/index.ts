/** A client of the ControlNet service: the generated functions and types, and what is written by hand around them. */
export { type Job, JobFailed, Refused } from "./errors.ts";
export * from "./generated/index.ts";
export { ControlNetService, type GenerateOptions, type ServiceOptions } from "./service.ts";
export type { Jobs, WaitOptions } from "./wait.ts";
export { verifyWebhook, type WebhookHeaders } from "./webhook.ts";

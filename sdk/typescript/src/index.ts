export { ControlNetService, JobFailed, Refused } from "./service.ts";
export * from "./generated/index.ts";
export { type WebhookHeaders, verifyWebhook } from "./webhook.ts";

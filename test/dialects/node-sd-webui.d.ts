/** The package brings types, but its package.json does not say where. */
declare module "node-sd-webui" {
  export { default } from "../../node_modules/node-sd-webui/types/index.d.ts";
}

/** Without the keys that diffusers wrote as defaults of their time (ConfigMixin.extract_init_dict): it takes today's for them. */
export function saidEntries(json: object): [string, unknown][] {
  const { _use_default_values: unsaid } = json as { _use_default_values?: unknown };
  return Object.entries(json).filter(([key]) => !(Array.isArray(unsaid) && unsaid.includes(key)));
}

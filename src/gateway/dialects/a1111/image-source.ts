/** An image as the web UI takes it, base64 with or without `data:` before it, as ours; addresses and uploads are as they are. */
export const asSource = (said: string): string =>
  /^(data:|https?:|upload:|sha256:)/i.test(said) ? said : `data:image/png;base64,${said}`;

/** Names as the web UI writes them (`name [hash]`, `name.safetensors`, without the folder), and ids as they are here. */

const plain = (name: string) => name.replace(/\s*\[\w+\]\s*$/, "").replace(/\.(safetensors|ckpt|pth|pt)$/i, "");
const base = (id: string) => id.slice(id.lastIndexOf("/") + 1);

/** Of what is offered, the id that a client means; what it said when there is none, so that the refusal names it. */
export function idCalled(offered: readonly { id: string }[], said: string): string {
  const name = plain(said).trim();
  const ids = offered.map(({ id }) => id);
  const ways: ((id: string) => boolean)[] = [
    (id) => id === said,
    (id) => id === name,
    (id) => id.toLowerCase() === name.toLowerCase(),
    (id) => base(id) === base(name),
  ];
  for (const way of ways) {
    const found = ids.filter(way);
    if (found.length === 1) return found[0]!;
  }
  return name;
}

/** The name without the folder, as prompts have it. */
export const shortName = base;

/** Whether it stands for nothing at all. */
export const isNone = (name: string | null | undefined) => name == null || /^(|none)$/i.test(name.trim());

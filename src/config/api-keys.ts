/** API keys: each has an owner's name and is kept as its SHA-256 alone. Several keys may have one name, as when one replaces another. */
import { createHash, timingSafeEqual } from "node:crypto";
import { z } from "zod";

/** What a client can send in `Authorization: Bearer` (RFC 6750's b64token), with enough characters not to be guessed. */
const KEY = /^[\w.~+/-]{16,200}=*$/;

const Name = z.string().regex(/^[\w.-]{1,64}$/, "a name has 1 to 64 letters, digits, dots, dashes and underscores");

/**
 * What becomes of a picture that a model's safety checker flags: it is not asked; what it says is told; the picture is black.
 */
export const SAFETY_MODES = ["off", "flag", "blank"] as const;
export type SafetyMode = (typeof SAFETY_MODES)[number];
const Mode = z.enum(SAFETY_MODES);

export const ApiKey = z.strictObject({
  name: Name,
  /** Absent = SAFETY_CHECKER's. */
  safety_checker: Mode.optional(),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/i, "must be the SHA-256 of the key in hexadecimal")
    .transform((hex): Buffer => Buffer.from(hex, "hex")),
});
export type ApiKey = z.infer<typeof ApiKey>;

/** Whose everything is as long as there are no API keys. */
export const OWNER_WITHOUT_KEYS = "default";

const hashOf = (key: string): Buffer => createHash("sha256").update(key).digest();

/** `name:key,name:key:blank`, the third part being its safety checker's mode. @throws {Error} that tells an entry by its place, for it may hold a key. */
export function parseKeys(list: string): ApiKey[] {
  return list.split(",").map((entry, index) => {
    const [name = "", key = "", mode, ...more] = entry.trim().split(":");
    const { success: isMode, data: safety_checker } = Mode.optional().safeParse(mode);
    if (!Name.safeParse(name).success || !KEY.test(key) || !isMode || more.length > 0) {
      throw new Error(
        `entry ${index + 1} must be name:key, the key of 16 characters or more of A-Z a-z 0-9 - . _ ~ + /, or name:key:MODE with the MODE of its safety checker, ${SAFETY_MODES.join(", ")}`,
      );
    }
    return { name, sha256: hashOf(key), ...(safety_checker !== undefined && { safety_checker }) };
  });
}

/** What is known of a key; undefined when nobody has it. Takes as long for a key that is nearly right as for any other. */
export function findKey(keys: readonly ApiKey[], key: string): ApiKey | undefined {
  const hash = hashOf(key);
  let found: ApiKey | undefined;
  for (const one of keys) {
    if (timingSafeEqual(one.sha256, hash)) found = one;
  }
  return found;
}

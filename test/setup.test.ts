import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

test("the lock file has an entry for every package that another one names, also those of other platforms, or npm ci refuses it", () => {
  const { packages } = JSON.parse(readFileSync(join(import.meta.dirname, "../package-lock.json"), "utf8")) as {
    packages: Record<string, { dependencies?: object; devDependencies?: object; optionalDependencies?: object }>;
  };
  const missing = Object.entries(packages).flatMap(([path, { dependencies, devDependencies, optionalDependencies }]) =>
    Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies }).filter((name) => {
      const folders = path.split(/(?=node_modules\/)/).map((_, i, parts) =>
        parts
          .slice(0, i + 1)
          .join("")
          .replace(/\/?$/, "/"),
      );
      return !["", ...folders].some((folder) => packages[`${folder}node_modules/${name}`] !== undefined);
    }),
  );
  assert.deepEqual(missing, []);
});

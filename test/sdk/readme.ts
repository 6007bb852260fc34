/** The programs of sdk/typescript/README.md, where the package is installed as its users install it. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { installPacked, oldestNode } from "../support/install-packed.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const sdk = join(root, "sdk/typescript");

export async function installReadme(stack: AsyncDisposableStack) {
  const folder = await installPacked(stack, sdk);
  const programs = [...readFileSync(join(sdk, "README.md"), "utf8").matchAll(/```js\n(.*?)```/gs)];
  for (const [i, name] of ["program", "receiver"].entries()) {
    for (const ending of ["mjs", "mts"]) writeFileSync(join(folder, `${name}.${ending}`), programs[i]![1]!);
  }
  copyFileSync(join(root, "docs/recipes/picture.jpg"), join(folder, "photo.jpg"));
  const node = await oldestNode();
  return {
    folder,
    node: node.version,
    /** Fails with what the compiler says. */
    async compile(): Promise<void> {
      const tsc = join(root, "node_modules/@typescript/native/bin/tsc");
      const options =
        "--noEmit --strict --skipLibCheck --target es2022 --module nodenext --lib es2023,dom --types node";
      const files = ["--typeRoots", join(root, "node_modules/@types"), "program.mts", "receiver.mts"];
      const args = [tsc, ...options.split(" "), ...files];
      await run(process.execPath, args, { cwd: folder }).catch(({ stdout }) => assert.fail(stdout));
    },
    /** Of the first program, what it says; it must not complain. */
    async program(env: Record<string, string>): Promise<string[]> {
      const { stdout, stderr } = await run(node.path, ["program.mjs"], { cwd: folder, env });
      assert.equal(stderr, "");
      return stdout.trim().split("\n");
    },
    /** The second goes on until the stack is disposed of. @returns what it has said so far */
    receiver(env: Record<string, string>): () => string {
      const child = spawn(node.path, ["receiver.mjs"], { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"] });
      stack.defer(() => void child.kill());
      let heard = "";
      child.stdout.on("data", (chunk) => (heard += chunk));
      return () => heard;
    },
  };
}

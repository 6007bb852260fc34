/** npm run bench [name [number]]...: measures this machine; every table that it prints is made for docs/benchmarks.md. */
import { run as adapters } from "./adapters.ts";
import { run as annotators } from "./annotators.ts";
import { run as chaos } from "./chaos.ts";
import { run as convergence } from "./convergence.ts";
import { run as demo } from "./demo.ts";
import { run as demoAnnotated } from "./demo-annotated.ts";
import { run as fair } from "./fair.ts";
import { run as fast } from "./fast.ts";
import { removeTemporary } from "./folders.ts";
import { run as fullSize } from "./full-size.ts";
import { run as guests } from "./guests/main.ts";
import { run as hostile } from "./hostile.ts";
import { run as hostileFiles } from "./hostile-files.ts";
import { run as latency } from "./latency.ts";
import { run as load } from "./load/main.ts";
import { run as price } from "./price.ts";
import { run as provenance } from "./provenance.ts";
import { run as savings } from "./savings.ts";
import { run as sdxl } from "./sdxl.ts";
import { run as soak } from "./soak.ts";
import { run as switching } from "./switch.ts";
import { printMachine } from "./table.ts";
import { run as train } from "./train.ts";

/** Some take a number, which stands behind the name: for how many seconds or minutes. */
const BENCHES: Record<string, (amount?: number) => Promise<void>> = {
  "full-size": fullSize,
  adapters,
  annotators,
  chaos,
  convergence,
  demo,
  fair,
  "demo-annotated": demoAnnotated,
  fast,
  guests,
  hostile,
  "hostile-files": hostileFiles,
  latency,
  load,
  price,
  provenance,
  savings,
  sdxl,
  soak,
  switch: switching,
  train,
};

const words = process.argv.slice(2);
const amounts = new Map(words.map((name, i) => [name, Number(words[i + 1] ?? Number.NaN)]));
const names = words.filter((word) => Number.isNaN(Number(word)));
const unknown = names.find((name) => BENCHES[name] === undefined);
if (unknown !== undefined) {
  console.error(`no bench "${unknown}"; there are ${Object.keys(BENCHES).join(", ")}`);
  process.exit(2);
}
for (const name of names.length > 0 ? names : Object.keys(BENCHES)) {
  printMachine();
  try {
    const amount = amounts.get(name);
    await BENCHES[name]!(Number.isNaN(amount) ? undefined : amount);
  } catch (error) {
    // As where the disk is too small for one of them: the others go on.
    console.error(`${name}:`, error);
    process.exitCode = 1;
  }
  removeTemporary();
}

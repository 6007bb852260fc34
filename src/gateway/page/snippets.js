// The same request as a program says it: curl, TypeScript, Python.
import { Picture } from "./picture.js";

/** @typedef {{name: string, picture: Picture}} NamedFile the file that the code reads a picture from */

/**
 * What the code names: the pictures of the body, as files, by where they are used.
 * @param {any} body
 * @returns {{files: NamedFile[], named: any}} `named`: the body with a {@link FileName} for each picture
 */
function nameFiles(body) {
  /** @type {NamedFile[]} */
  const files = [];
  /** @param {any} part @param {string} as @returns {any} */
  const walk = (part, as) => {
    if (part instanceof Picture) {
      const known = files.find(({ picture }) => picture === part);
      const name = known?.name ?? `${as}.${part.suffix}`;
      if (known === undefined) files.push({ name, picture: part });
      return new FileName(name, part.blob.type === "" ? "image/png" : part.blob.type);
    }
    if (Array.isArray(part)) return part.map((entry, i) => walk(entry, `${as.replace(/s$/, "")}-${i + 1}`));
    if (typeof part !== "object" || part === null) return part;
    return Object.fromEntries(
      Object.entries(part).map(([name, value]) => [name, walk(value, name === "image" && as !== "" ? as : name)]),
    );
  };
  const named = walk(body, "");
  return { files, named };
}

class FileName {
  /** @param {string} name @param {string} type */
  constructor(name, type) {
    this.name = name;
    this.type = type;
  }
}

/**
 * JSON, with an expression of the language where a picture is.
 * @param {any} value
 * @param {(file: FileName) => string} say
 * @param {(text: string) => string} [literal] a string of the language
 * @param {string} [indent]
 * @returns {string}
 */
function print(value, say, literal = JSON.stringify, indent = "") {
  if (value instanceof FileName) return say(value);
  if (typeof value === "string") return literal(value);
  if (typeof value !== "object" || value === null) return String(value);
  const more = `${indent}  `;
  const plain = Array.isArray(value) && value.every((entry) => typeof entry === "number");
  if (plain) return JSON.stringify(value);
  if (Array.isArray(value)) {
    return `[\n${value.map((entry) => more + print(entry, say, literal, more)).join(",\n")}\n${indent}]`;
  }
  const lines = Object.entries(value).map(([name, entry]) => `${more}"${name}": ${print(entry, say, literal, more)}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

/** @param {any} body @param {string} url of the service @param {boolean} withKey */
function curl(body, url, withKey) {
  const key = withKey ? ` -H "Authorization: Bearer $API_KEY"` : "";
  // In a here-document the shell reads $, ` and \ : those of the JSON are escaped, those of the files are not.
  const literal = (/** @type {string} */ text) => JSON.stringify(text).replaceAll(/[\\$`]/g, String.raw`\$&`);
  const json = print(body, ({ name, type }) => `"data:${type};base64,$(base64 < ${name} | tr -d '\\n')"`, literal);
  return `curl -s ${url}v1/generations${key} -H 'Content-Type: application/json' -H 'Prefer: wait=60' -d @- <<JSON |
${json}
JSON
  grep -o 'http[^"]*/images/[0-9]*' |
  while read -r url; do curl -s "$url"${key} -o "picture-\${url##*/}.png"; done
`;
}

/** @param {any} body @param {string} url @param {boolean} withKey */
function typescript(body, url, withKey) {
  const json = print(body, ({ name, type }) => `dataUri("${name}", "${type}")`);
  const files = json.includes("dataUri(");
  return `import { ${files ? "readFileSync, " : ""}writeFileSync } from "node:fs";

const API = "${url}v1";
const headers = { "Content-Type": "application/json", Prefer: "wait=60"${withKey ? `, Authorization: \`Bearer \${process.env.API_KEY}\`` : ""} };
${files ? `const dataUri = (file: string, type: string) => \`data:\${type};base64,\${readFileSync(file, "base64")}\`;\n` : ""}
const request = ${json};

let answer = await fetch(\`\${API}/generations\`, { method: "POST", headers, body: JSON.stringify(request) });
let generation = await answer.json();
if (!answer.ok) throw new Error(generation.detail);
while (generation.ended_at === null) {
  await new Promise((resolve) => setTimeout(resolve, 1000));
  answer = await fetch(\`\${API}/generations/\${generation.id}\`, { headers });
  generation = await answer.json();
}
if (generation.status !== "succeeded") throw new Error(generation.error?.message ?? generation.status);
for (const [i, { url }] of generation.images.entries()) {
  const picture = await fetch(url, { headers });
  writeFileSync(\`picture-\${i}.png\`, Buffer.from(await picture.arrayBuffer()));
}
`;
}

/** @param {any} body @param {string} url @param {boolean} withKey */
function python(body, url, withKey) {
  const json = print(body, ({ name, type }) => `data_uri("${name}", "${type}")`);
  const files = json.includes("data_uri(");
  return `${files ? "import base64\n" : ""}import json
${withKey ? "import os\n" : ""}import time
import urllib.request

API = "${url}v1"
HEADERS = {"Content-Type": "application/json", "Prefer": "wait=60"${withKey ? ', "Authorization": f"Bearer {os.environ[\'API_KEY\']}"' : ""}}


def call(address, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(address, data, HEADERS)) as answer:
        return answer.read()

${files ? '\ndef data_uri(file, kind):\n    with open(file, "rb") as picture:\n        return f"data:{kind};base64,{base64.b64encode(picture.read()).decode()}"\n\n' : ""}
request = ${json}

generation = json.loads(call(f"{API}/generations", request))
while generation["ended_at"] is None:
    time.sleep(1)
    generation = json.loads(call(f"{API}/generations/{generation['id']}"))
if generation["status"] != "succeeded":
    raise SystemExit(generation["error"] or generation["status"])
for i, image in enumerate(generation["images"]):
    with open(f"picture-{i}.png", "wb") as file:
        file.write(call(image["url"]))
`;
}

const LANGUAGES = { curl, typescript, python };
/** @typedef {keyof typeof LANGUAGES} Language */

/**
 * The request as code that runs as it stands, beside the files that it names.
 * @param {Language} language
 * @param {any} body as `bodyOf` gives it
 * @param {string} url of the service, with a slash at its end
 * @param {boolean} withKey whether the service asks for a key; the code takes it from API_KEY
 * @returns {{code: string, files: NamedFile[]}}
 */
export function codeOf(language, body, url, withKey) {
  const { files, named } = nameFiles(body);
  return { code: LANGUAGES[language](named, url, withKey), files };
}

/**
 * Forms (multipart/form-data, RFC 7578): so many parts, and so much text in them. Files are not copied: a form costs little more than
 * its file alone.
 */
import type { IncomingMessage } from "node:http";
import type { FastifyRequest } from "fastify";
import { Refused } from "../errors.ts";
import { tooLargeBody } from "./arriving.ts";
import type { Bounds } from "./bounds.ts";
import { boundsFor, readBytes } from "./held.ts";

export interface FormPart {
  name: string;
  /** Of a file, its Content-Type, or text/plain; undefined = it is a text. */
  fileType: string | undefined;
  content: Buffer;
}

/** Far more than any request has fields. */
const MOST_PARTS = 1000;
/** Of what stands before a part's content. */
const MOST_HEAD_BYTES = 4096;

const [CRLF, BLANK_LINE] = ["\r\n", "\r\n\r\n"];
const BOUNDARY = /;\s*boundary=(?:"([^"]+)"|([^\s;"]+))/i;
/** A parameter of Content-Disposition; browsers write a quotation mark in it as %22, others with a backslash. */
const parameter = (name: string) => new RegExp(`;\\s*${name}="((?:[^"\\\\]|\\\\.)*)"|;\\s*${name}=([^\\s;"]+)`, "i");
const [NAME, FILE_NAME] = [parameter("name"), parameter("filename\\*?")];
const DISPOSITION = /^content-disposition:\s*form-data\s*(;.*)$/im;
const TYPE = /^content-type:\s*(\S.*)$/im;

/** The parts of a form, in their order. @throws {Refused} 400 for what is none, and for one of another site's page; 408, 413 */
export async function readForm(request: FastifyRequest, body: IncomingMessage): Promise<FormPart[]> {
  if (/^(cross|same)-site$/.test(String(request.headers["sec-fetch-site"]))) {
    // A form is the one kind of body that any page in a browser may send anywhere.
    throw new Refused(400, "invalid_request", "forms of other sites' pages are not taken");
  }
  const [, quoted, bare] = BOUNDARY.exec(request.headers["content-type"]!) ?? [];
  const boundary = quoted ?? bare;
  if (boundary === undefined) throw notAForm("its Content-Type names no boundary");
  return partsOf(await readBytes(request, body), boundary, boundsFor(request));
}

/** @throws {Refused} */
export function partsOf(body: Buffer, boundary: string, { textBytes }: Pick<Bounds, "textBytes">): FormPart[] {
  const [first, delimiter] = [Buffer.from(`--${boundary}`, "latin1"), Buffer.from(`\r\n--${boundary}`, "latin1")];
  const parts: FormPart[] = [];
  let text = 0;
  let at = body.subarray(0, first.length).equals(first) ? first.length : endOf(body, delimiter, 0);
  while (body.toString("latin1", at, at + 2) !== "--") {
    const line = body.indexOf(CRLF, at);
    if (line === -1 || body.toString("latin1", at, line).trim() !== "") throw notAForm("a boundary has more behind it");
    const end = body.indexOf(delimiter, line);
    if (end === -1) throw notAForm("its last boundary is missing");
    const part = partOf(body.subarray(line + CRLF.length, Math.max(end, line + CRLF.length)));
    if (part.fileType === undefined && !/^data:/i.test(part.content.toString("latin1", 0, 5)))
      text += part.content.length;
    if (parts.push(part) > MOST_PARTS) throw notAForm(`it has more than ${MOST_PARTS} fields`);
    if (text > textBytes) throw tooLargeBody(textBytes, "the text of the form, beside its files and data: URIs,");
    at = end + delimiter.length;
  }
  return parts;
}

function endOf(body: Buffer, delimiter: Buffer, from: number): number {
  const found = body.indexOf(delimiter, from);
  if (found === -1) throw notAForm("the boundary that its Content-Type names is not in it");
  return found + delimiter.length;
}

function partOf(part: Buffer): FormPart {
  const blank = part.subarray(0, MOST_HEAD_BYTES).indexOf(BLANK_LINE);
  if (blank === -1) throw notAForm(`a part has no blank line in its first ${MOST_HEAD_BYTES} bytes`);
  const head = part.toString("utf8", 0, blank);
  const disposition = DISPOSITION.exec(head)?.[1] ?? "";
  const [, quoted, bare] = NAME.exec(disposition) ?? [];
  const name = quoted ?? bare;
  if (name === undefined) throw notAForm("a part has no name");
  const isFile = FILE_NAME.test(disposition);
  return {
    name: name.replaceAll("%22", '"').replaceAll(/\\(.)/g, "$1"),
    fileType: isFile ? (TYPE.exec(head)?.[1]?.trim() ?? "text/plain") : undefined,
    content: part.subarray(blank + BLANK_LINE.length),
  };
}

function notAForm(why: string): Refused {
  return new Refused(400, "invalid_request", `the body is not a form (multipart/form-data): ${why}`);
}

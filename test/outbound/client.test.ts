import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import type { LookupAddress } from "node:dns";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { after, describe, test } from "node:test";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { gzipSync } from "node:zlib";
import ipaddr from "ipaddr.js";
import { readConfig } from "../../src/config/config.ts";
import { isPublic } from "../../src/outbound/address.ts";
import { Outbound } from "../../src/outbound/client.ts";
import { OutboundError, told } from "../../src/outbound/errors.ts";
import { askNameServers, type Names } from "../../src/outbound/names.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const PUBLIC = "93.184.216.34";
const limits = { maxBytes: 1000, timeoutMs: 5000 };
const address = (ip: string): LookupAddress => ({ address: ip, family: ip.includes(":") ? 6 : 4 });

/** A client; `names` says what the DNS answers, one answer after the other, the last for ever. */
function client(allowHosts = "", names: Record<string, string[][]> = {}) {
  return asking(async (name) => {
    const answers = names[name];
    if (answers === undefined) throw Object.assign(new Error(name), { code: "ENOTFOUND" });
    return (answers.length > 1 ? answers.shift()! : answers[0]!).map(address);
  }, allowHosts);
}

/** A client that asks nobody else what a name stands for. */
function asking(lookUp: Names["nameServers"], allowHosts = "", system = lookUp as Names["system"]) {
  const outbound = new Outbound(readConfig({ ALLOW_HOSTS: allowHosts }), { system, nameServers: lookUp });
  stack.defer(() => outbound.close());
  return outbound;
}

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** A server on loopback, and how often it was asked for something. */
async function serve(answer: RequestListener) {
  const requests: { method?: string | undefined; url?: string | undefined; headers: NodeJS.Dict<string | string[]> }[] =
    [];
  const server = createServer((request, reply) => {
    requests.push({ method: request.method, url: request.url, headers: request.headers });
    answer(request, reply);
  });
  const port = await listen(server);
  return { requests, port, host: `127.0.0.1:${port}`, url: `http://127.0.0.1:${port}/` };
}

const rejects = (what: Promise<unknown>, reason: OutboundError["reason"], says: RegExp) =>
  assert.rejects(what, (error) => {
    assert.ok(error instanceof OutboundError, String(error));
    assert.equal(error.reason, reason, error.message);
    assert.match(error.message, says);
    return true;
  });

describe("an address that leads inside is refused", () => {
  for (const [what, ip] of [
    ["loopback", "127.0.0.1"],
    ["the rest of loopback", "127.255.255.254"],
    ["this host", "0.0.0.0"],
    ["this network", "0.1.2.3"],
    ["private, 10/8", "10.0.0.1"],
    ["private, 172.16/12", "172.31.255.255"],
    ["private, 192.168/16", "192.168.1.1"],
    ["shared by carriers (CGNAT)", "100.64.0.1"],
    ["Alibaba's metadata", "100.100.100.200"],
    ["link-local", "169.254.0.1"],
    ["metadata", "169.254.169.254"],
    ["Azure's platform", "168.63.129.16"],
    ["Oracle's metadata", "192.0.0.192"],
    ["documentation", "203.0.113.9"],
    ["benchmarking", "198.18.0.1"],
    ["6to4 relays", "192.88.99.1"],
    ["multicast", "224.0.0.251"],
    ["reserved", "240.0.0.1"],
    ["broadcast", "255.255.255.255"],
    ["IPv6 loopback", "::1"],
    ["IPv6 unspecified", "::"],
    ["IPv4-mapped loopback", "::ffff:127.0.0.1"],
    ["IPv4-mapped metadata, in hexadecimal", "::ffff:a9fe:a9fe"],
    ["IPv4-mapped, though public", `::ffff:${PUBLIC}`],
    ["IPv4-compatible", "::127.0.0.1"],
    ["IPv4-translated", "::ffff:0:127.0.0.1"],
    ["NAT64", "64:ff9b::7f00:1"],
    ["local NAT64", "64:ff9b:1::7f00:1"],
    ["6to4", "2002:7f00:1::"],
    ["Teredo", "2001:0:7f00:1::1"],
    ["unique-local", "fd00:ec2::254"],
    ["IPv6 link-local", "fe80::1"],
    ["IPv6 link-local on an interface", "fe80::1%eth0"],
    ["site-local", "fec0::1"],
    ["IPv6 multicast", "ff02::1"],
    ["discard-only", "100::1"],
    ["IPv6 documentation", "2001:db8::1"],
    ["new IPv6 documentation", "3fff::1"],
    ["never given out", "4000::1"],
  ] as const) {
    test(`${what}: ${ip}, as it is and by name`, async () => {
      assert.equal(isPublic(ip), false);
      const outbound = client("", { "inside.test": [[ip]] });
      if (!ip.includes("%")) {
        const literal = `https://${ip.includes(":") ? `[${ip}]` : ip}/`;
        await rejects(outbound.get(literal, limits), "refused", /public address/);
        await rejects(outbound.check(literal), "refused", /public address/);
      }
      await rejects(outbound.get("https://inside.test/", limits), "refused", /public address/);
      await rejects(outbound.check("https://inside.test/"), "refused", /public address/);
    });
  }

  for (const ip of [
    PUBLIC,
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
  ]) {
    test(`${ip} is public`, async () => {
      assert.equal(isPublic(ip), true);
      await client("", { "outside.test": [[ip]] }).check("https://outside.test/");
    });
  }

  for (const url of [
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127.0.0.1./",
    "https://[0:0:0:0:0:ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
  ]) {
    test(`however it is spelled: ${url}`, () => rejects(client().get(url, limits), "refused", /public address/));
  }

  test("a name that has public addresses too is let through, to those alone", async () => {
    await client("", { "mixed.test": [["127.0.0.1", PUBLIC]] }).check("https://mixed.test/");
  });
});

describe("an address is refused for its form", () => {
  for (const [what, url, says] of [
    ["http", "http://example.com/", /only https/],
    ["ftp", "ftp://example.com/", /only https/],
    ["a file", "file:///etc/passwd", /only https/],
    ["gopher", "gopher://127.0.0.1:6379/_FLUSHALL", /only https/],
    ["a user name", "https://user@example.com/", /user name or password/],
    ["a host hidden behind a user name", "https://example.com@127.0.0.1/", /user name or password/],
    ["a port of something else", "https://example.com:6379/", /port 6379 is not allowed/],
    ["no URL", "https://", /not a valid URL/],
    ["a host that is none", "https://[::1", /not a valid URL/],
  ] as const) {
    test(what, async () => {
      await rejects(client().get(url, limits), "refused", says);
      await rejects(client().check(url), "refused", says);
      await rejects(client().post(url, { headers: {}, body: "", timeoutMs: 1000 }), "refused", says);
    });
  }
});

describe("a name whose answer changes", () => {
  test("between the check and the connection is refused at the connection", async () => {
    const outbound = client("", { "rebind.test": [[PUBLIC], ["127.0.0.1"]] });
    await outbound.check("https://rebind.test/");
    await rejects(outbound.get("https://rebind.test/", limits), "refused", /public address/);
  });

  test("between the check and a webhook's attempt too, and between two attempts", async () => {
    const outbound = client("", { "rebind.test": [[PUBLIC], ["169.254.169.254"], ["127.0.0.1"]] });
    const attempt = () => outbound.post("https://rebind.test/", { headers: {}, body: "", timeoutMs: 1000 });
    await outbound.check("https://rebind.test/");
    await rejects(attempt(), "refused", /public address/);
    await rejects(attempt(), "refused", /public address/);
  });

  test("is looked up once a connection, and what was checked is connected to", async () => {
    const { host, port, requests } = await serve((_, reply) => reply.end("here"));
    let lookups = 0;
    const outbound = asking(async () => {
      lookups++;
      return [address(lookups === 1 ? "127.0.0.1" : "127.0.0.2")];
    }, `rebind.test:${port}`);
    assert.equal(String(await outbound.get(`http://rebind.test:${port}/`, limits)), "here");
    assert.equal(lookups, 1);
    assert.equal(requests[0]?.headers.host, host.replace("127.0.0.1", "rebind.test"));
  });

  test("on the way of a redirect too", async () => {
    const { host, url } = await serve((_, reply) => reply.writeHead(302, { location: "https://rebind.test/" }).end());
    const outbound = client(host, { "rebind.test": [[PUBLIC], ["10.0.0.1"]] });
    await outbound.check("https://rebind.test/");
    await rejects(outbound.get(url, limits), "refused", /public address/);
  });
});

/** A name server on loopback: it knows these addresses, says nothing of names that begin with "mute", of others that there are none. */
async function nameServer(known: Record<string, string[]>) {
  const socket = createSocket("udp4");
  socket.on("message", (query, { port }) => {
    const labels: string[] = [];
    let at = 12;
    for (; query[at] !== 0; at += query[at]! + 1) labels.push(query.toString("latin1", at + 1, at + 1 + query[at]!));
    const name = labels.join(".");
    const type = query.readUInt16BE(at + 1);
    if (name.startsWith("mute") || (name === "half.test" && type !== 1)) return;
    const found = (known[name] ?? []).map((ip) => ipaddr.parse(ip).toByteArray());
    const answers = found.filter(({ length }) => (length === 4 ? 1 : 28) === type);
    const head = Buffer.from(query.subarray(0, at + 5));
    head.writeUInt16BE(name in known ? 0x8180 : 0x8183, 2);
    for (const [i, count] of [1, answers.length, 0, 0].entries()) head.writeUInt16BE(count, 4 + 2 * i);
    const records = answers.map((ip) => [0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, ip.length, ...ip]);
    socket.send(Buffer.concat([head, ...records.map((record) => Buffer.from(record))]), port, "127.0.0.1");
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  stack.defer(() => void socket.close());
  const ask: Names["nameServers"] = (name, signal) => {
    const resolver = new Resolver({ timeout: 1000, tries: 3 });
    resolver.setServers([`127.0.0.1:${socket.address().port}`]);
    return askNameServers(name, signal, resolver);
  };
  return { ask, socket };
}

describe("what a name stands for", () => {
  test("is asked of the name servers, for IPv4 and IPv6, and every address is checked", async () => {
    const { ask } = await nameServer({
      "both.test": [PUBLIC, "2606:4700:4700::1111"],
      "inside.test": ["10.0.0.1", "::1"],
      "inside4.test": ["127.0.0.1"],
      "inside6.test": ["fd00::1"],
      "empty.test": [],
    });
    const { signal } = new AbortController();
    assert.deepEqual(await ask("both.test", signal), [address(PUBLIC), address("2606:4700:4700::1111")]);
    const outbound = asking(ask);
    await outbound.check("https://both.test/");
    for (const name of ["inside", "inside4", "inside6"]) {
      await rejects(outbound.check(`https://${name}.test/`), "refused", /public address/);
      await rejects(outbound.get(`https://${name}.test/`, limits), "refused", /public address/);
    }
    await rejects(outbound.get("https://empty.test/", limits), "unreachable", /has an address/);
    await rejects(outbound.get("https://nowhere.test/", limits), "unreachable", /no host of that name/);
  });

  test("is learnt while a hundred names wait for name servers that say nothing", async () => {
    const { ask } = await nameServer({ "inside.test": ["127.0.0.1"] });
    const outbound = asking(ask);
    const caller = new AbortController();
    const mute = Array.from({ length: 100 }, (_, i) =>
      outbound.get(`https://mute${i}.test/`, { ...limits, signal: caller.signal }),
    );
    const first = await Promise.race([outbound.check("https://inside.test/").catch((error) => error), ...mute]);
    assert.equal(first.reason, "refused");
    caller.abort();
    const ended = await Promise.allSettled(mute);
    assert.ok(ended.every((one) => one.status === "rejected" && one.reason.name === "AbortError"));
  });

  test("is what is known when the name server tells of IPv4 alone", { timeout: 2500 }, async () => {
    const { ask } = await nameServer({ "half.test": [PUBLIC] });
    assert.deepEqual(await ask("half.test", new AbortController().signal), [address(PUBLIC)]);
  });

  test("is no longer asked when nobody wants to know", { timeout: 2500 }, async () => {
    const { ask, socket } = await nameServer({});
    const caller = new AbortController();
    const answer = ask("mute.test", caller.signal);
    await once(socket, "message");
    caller.abort();
    await assert.rejects(answer, { name: "AbortError" });
  });

  test("is asked for a while only, also when a webhook is checked, which then passes", async (t) => {
    const timeout = AbortSignal.timeout;
    t.mock.method(AbortSignal, "timeout", (ms: number) => timeout(ms / 50)); // time runs faster
    let given: AbortSignal | undefined;
    const deaf = asking((_, signal) => {
      given = signal;
      return new Promise(() => {});
    });
    await deaf.check("https://example.com/");
    assert.ok(given?.aborted);
    await rejects(deaf.get("https://example.com/", { ...limits, timeoutMs: 50_000 }), "timed_out", /within 5 s/);
  });

  test("is asked of the system for localhost and the hosts of ALLOW_HOSTS alone", async () => {
    const asked: string[] = [];
    const note = (who: string) => async (name: string) => {
      asked.push(`${who}: ${name}`);
      return [address("127.0.0.1")];
    };
    const outbound = asking(note("name servers"), "files.intranet:8080", note("system"));
    for (const host of ["files.intranet", "localhost", "example.com", "intranet"]) {
      await rejects(outbound.check(`https://${host}/`), "refused", /public address/);
    }
    await outbound.check("http://files.intranet:8080/");
    assert.deepEqual(asked, [
      "system: files.intranet",
      "system: localhost",
      "name servers: example.com",
      "name servers: intranet",
      "system: files.intranet",
    ]);
  });
});

describe("ALLOW_HOSTS", () => {
  test("lets a named host be private and without TLS, and no other", async () => {
    const { host, url, port } = await serve((_, reply) => reply.end("here"));
    assert.equal(String(await client(host).get(url, limits)), "here");
    assert.equal(String(await client("127.0.0.1").get(url, limits)), "here");
    await rejects(client(`127.0.0.1:${port + 1}`).get(url, limits), "refused", /only https/);
    await rejects(client("localhost").get(url, limits), "refused", /only https/);
    const intranet = client("files.intranet", { "files.intranet": [["127.0.0.1"]], localhost: [["127.0.0.1"]] });
    assert.equal(String(await intranet.get(`http://FILES.intranet:${port}/`, limits)), "here");
    await rejects(intranet.get(`http://localhost:${port}/`, limits), "refused", /only https/);
  });

  test("does not spare a host its certificate", async () => {
    const tls = (file: string) => readFileSync(new URL(`../fixtures/tls/${file}.pem`, import.meta.url));
    const options = { key: tls("key"), cert: tls("certificate") };
    const port = await listen(createTlsServer(options, (_, reply) => reply.end("here")));
    const names = { "pictures.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]] };
    const url = `https://pictures.test:${port}/`;
    await rejects(client("pictures.test", names).get(url, limits), "unreachable", /SELF_SIGNED/);
    const authorities = getCACertificates("default");
    setDefaultCACertificates([...authorities, String(options.cert)]);
    stack.defer(() => setDefaultCACertificates(authorities));
    assert.equal(String(await client("pictures.test", names).get(url, limits)), "here");
    const other = client("other.test", names).get(`https://other.test:${port}/`, limits);
    await rejects(other, "unreachable", /ALTNAME/);
  });
});

describe("a redirect", () => {
  for (const [where, location] of [
    ["loopback", "https://127.0.0.1/"],
    ["metadata", "https://169.254.169.254/latest/meta-data/"],
    ["an IPv4-mapped address", "https://[::ffff:127.0.0.1]/"],
    ["plain http", "http://example.com/"],
    ["a file", "file:///etc/passwd"],
    ["a place with a password", "https://a:b@example.com/"],
  ] as const) {
    test(`to ${where} is refused`, async () => {
      const { host, url } = await serve((_, reply) => reply.writeHead(301, { location }).end());
      await rejects(client(host).get(url, limits), "refused", /the address is refused/);
    });
  }

  test("to another service on this machine is refused, and nothing is sent to it", async () => {
    const inside = await serve((_, reply) => reply.end("secret"));
    const { host, url } = await serve((_, reply) => reply.writeHead(302, { location: inside.url }).end());
    await rejects(client(host).get(url, limits), "refused", /only https/);
    assert.deepEqual(inside.requests, []);
  });

  test("is followed, relative ones too, four times and no more", async () => {
    const { host, url, requests } = await serve(({ url }, reply) => {
      const left = Number(url?.slice(1));
      left === 0 ? reply.end("here") : reply.writeHead(307, { location: `${left - 1}` }).end("not here");
    });
    assert.equal(String(await client(host).get(`${url}4`, limits)), "here");
    assert.equal(requests.length, 5);
    await rejects(client(host).get(`${url}5`, limits), "bad_answer", /more than 4 times/);
  });
});

describe("a server that answers badly", () => {
  test("with more bytes than allowed, announced or not, is left as soon as that is clear", async () => {
    const { host, url } = await serve(({ url }, reply) => {
      if (url === "/announced") reply.setHeader("content-length", 10 ** 12);
      reply.write("x".repeat(500)); // and goes on for ever
      const timer = setInterval(() => reply.write("x".repeat(500)), 5);
      reply.on("close", () => clearInterval(timer));
    });
    await rejects(client(host).get(`${url}announced`, limits), "too_large", /1000 bytes/);
    await rejects(client(host).get(url, limits), "too_large", /1000 bytes/);
  });

  test("with exactly as many bytes as allowed is taken", async () => {
    const { host, url } = await serve((_, reply) => reply.end("x".repeat(1000)));
    assert.equal((await client(host).get(url, limits)).length, 1000);
  });

  test("with compressed bytes is refused: nothing is ever unpacked", async () => {
    const { host, url, requests } = await serve((_, reply) =>
      reply.setHeader("content-encoding", "gzip").end(gzipSync(Buffer.alloc(10 ** 6))),
    );
    await rejects(client(host).get(url, limits), "bad_answer", /Content-Encoding: gzip/);
    assert.equal(requests[0]?.headers["accept-encoding"], "identity");
  });

  test("too slowly, a byte at a time, is left when the time for all of it is over", { timeout: 20_000 }, async () => {
    const { host, url } = await serve((_, reply) => {
      const timer = setInterval(() => reply.write("x"), 20);
      reply.on("close", () => clearInterval(timer));
    });
    await rejects(client(host).get(url, { ...limits, timeoutMs: 300 }), "timed_out", /0.3 s/);
  });

  test("not at all, and one whose DNS does not answer, likewise", async () => {
    const { host, url } = await serve(() => {});
    await rejects(client(host).get(url, { ...limits, timeoutMs: 200 }), "timed_out", /0.2 s/);
    const deaf = asking(() => new Promise(() => {}));
    await rejects(deaf.get("https://example.com/", { ...limits, timeoutMs: 200 }), "timed_out", /0.2 s/);
  });

  test("with an error, with half of what it announced, or under a name that does not exist", async () => {
    const { host, url } = await serve((request, reply) => {
      if (request.url === "/half") reply.writeHead(200, { "content-length": 10 }).write("x", () => reply.destroy());
      else reply.writeHead(404).end("secret");
    });
    await rejects(client(host).get(url, limits), "bad_answer", /answered 404$/);
    await rejects(client(host).get(`${url}half`, limits), "unreachable", /was cut off after \d+ of \d+ bytes/);
    await rejects(client().get("https://nowhere.test/", limits), "unreachable", /no host of that name/);
    await client().check("https://nowhere.test/");
  });

  test("is left when the caller no longer wants it", async () => {
    const { host, url } = await serve(() => {});
    const caller = new AbortController();
    const asked = client(host).get(url, { ...limits, signal: caller.signal });
    caller.abort();
    await assert.rejects(asked, { name: "AbortError" });
  });

  test("is left while the connection is still being made", { timeout: 20_000 }, async () => {
    const silent = createTcpServer(); // and so never begins with TLS
    const port = await listen(silent);
    const connected = once(silent, "connection");
    const caller = new AbortController();
    const asked = client("127.0.0.1").get(`https://127.0.0.1:${port}/`, { ...limits, signal: caller.signal });
    const [socket] = await connected;
    socket.resume();
    caller.abort();
    await Promise.all([assert.rejects(asked, { name: "AbortError" }), once(socket, "close")]);
  });

  test("is left when who counts the bytes has enough, in those words", { timeout: 20_000 }, async () => {
    const left = Promise.withResolvers<void>();
    const { host, url } = await serve((_, reply) => {
      reply.write("x".repeat(500)); // and no more
      reply.on("close", left.resolve);
    });
    const counted: number[] = [];
    const onBytes = (bytes: number) => {
      counted.push(bytes);
      throw new RangeError("enough");
    };
    await assert.rejects(client(host).get(url, { ...limits, onBytes }), { name: "RangeError", message: "enough" });
    assert.deepEqual(counted, [500]);
    await left.promise;
  });
});

describe("what is posted", () => {
  const sent = { headers: { "content-type": "application/json" }, body: '{"a":1}', timeoutMs: 1000 };

  test("arrives, and the answer's status, headers and first kilobyte come back", async () => {
    const { host, url, requests } = await serve((_, reply) =>
      reply.writeHead(503, { "Retry-After": "7" }).end("busy".repeat(1000)),
    );
    const { status, headers, body } = await client(host).post(`${url}hook?a=1#b`, sent);
    assert.deepEqual([status, headers["retry-after"], body], [503, "7", "busy".repeat(256)]);
    assert.partialDeepStrictEqual(requests, [{ method: "POST", url: "/hook?a=1" }]);
  });

  test("says who sends it and where to read about it, and so does a fetch", async () => {
    const { host, url, requests } = await serve((_, reply) => reply.end("x"));
    await client(host).post(url, sent);
    await client(host).get(url, limits);
    for (const { headers } of requests) {
      assert.match(String(headers["user-agent"]), /^controlnet-service\/\d+\.\d+\.\d+ \(\+http:\/\/\S+\/docs\)$/);
    }
    assert.equal(requests.length, 2);
  });

  test("follows no redirect", async () => {
    const { host, url, requests } = await serve((_, reply) => reply.writeHead(307, { location: "/elsewhere" }).end());
    assert.equal((await client(host).post(url, sent)).status, 307);
    assert.equal(requests.length, 1);
  });

  test("is given up when no answer comes in time", async () => {
    const { host, url } = await serve(() => {});
    await rejects(client(host).post(url, { ...sent, timeoutMs: 100 }), "timed_out", /0.1 s/);
  });

  test("takes no proxy from the environment", async () => {
    const { host, url } = await serve((_, reply) => reply.end());
    const proxy = await serve((_, reply) => reply.end());
    for (const name of ["http_proxy", "HTTP_PROXY", "all_proxy", "NODE_USE_ENV_PROXY"]) {
      process.env[name] = name === "NODE_USE_ENV_PROXY" ? "1" : proxy.url;
      stack.defer(() => delete process.env[name] as unknown as undefined);
    }
    assert.equal((await client(host).post(url, sent)).status, 200);
    assert.deepEqual(proxy.requests, []);
  });
});

test("a connection that is not taken says how long it was tried, not how long all may take", () => {
  const late = Object.assign(new Error("Connect Timeout Error"), { name: "ConnectTimeoutError" });
  assert.match(
    (told(late, "slow.example", 15_000) as Error).message,
    /slow.example did not take the connection within 10 s/,
  );
});

// node by_agent.mjs URL: http.Agent with keep-alive, six connections at most. The authority is in NODE_EXTRA_CA_CERTS.

import { createHash } from "node:crypto";
import http from "node:http";
import https from "node:https";

const url = process.argv[2];
const pass = process.env.SHIELD_PASS ? { "Shield-Pass": process.env.SHIELD_PASS } : {};
const module = url.startsWith("https") ? https : http;
const agent = new module.Agent({ keepAlive: true, maxSockets: 6 });
const upload = Buffer.alloc(40960 * 256, Buffer.from(Array.from({ length: 256 }, (_, place) => place)));
const digest = (...data) => data.reduce((hash, each) => hash.update(each), createHash("sha256")).digest("hex");

function ask(path, { method = "GET", headers = {}, pieces = [] } = {}) {
  return new Promise((resolve, reject) => {
    const request = module.request(url + path, { method, headers: { ...pass, ...headers }, agent }, (response) => {
      const got = [];
      response.on("data", (piece) => got.push(piece));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(got) }));
      response.on("error", reject);
    });
    request.on("error", reject);
    const send = () => {
      for (const piece of pieces) request.write(piece);
      request.end();
    };
    if (headers.Expect) {
      request.on("continue", send);
      request.flushHeaders();
    } else send();
  });
}

const text = async (...asked) => (await ask(...asked)).body.toString();
const items = await Promise.all(Array.from({ length: 30 }, (_, number) => ask(`/item/${number}`)));
const halves = [upload.subarray(0, 5000000), upload.subarray(5000000)];
console.log(
  JSON.stringify({
    items: digest(...items.map((item) => item.body)),
    head: (await ask("/large", { method: "HEAD" })).headers["content-length"],
    put: await text("/echo", { method: "PUT", pieces: ["12345"] }),
    delete: await text("/echo", { method: "DELETE" }),
    options: await text("/echo", { method: "OPTIONS" }),
    upload: await text("/upload", { method: "POST", headers: { "Content-Length": upload.length, Expect: "100-continue" }, pieces: halves }),
    chunked: await text("/upload", { method: "POST", pieces: halves }),
    range: digest((await ask("/large", { headers: { Range: "bytes=1000-1999" } })).body),
    large: digest((await ask("/large")).body),
    stream: digest((await ask("/stream")).body),
    empty: String((await ask("/empty")).status),
    unchanged: String((await ask("/unchanged", { headers: { "If-None-Match": '"v1"' } })).status),
    missing: String((await ask("/missing")).status),
  }),
);
agent.destroy();

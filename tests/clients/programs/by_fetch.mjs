// node by_fetch.mjs URL: fetch, which is undici. The authority is in NODE_EXTRA_CA_CERTS.

import { createHash } from "node:crypto";

const url = process.argv[2];
const pass = process.env.SHIELD_PASS ? { "Shield-Pass": process.env.SHIELD_PASS } : {};
const ask = (path, more = {}) => fetch(url + path, { ...more, headers: { ...pass, ...more.headers } });
const upload = new Uint8Array(40960 * 256).map((_, place) => place % 256);
const digest = (...data) => data.reduce((hash, each) => hash.update(each), createHash("sha256")).digest("hex");
const bytes = async (path, more) => Buffer.from(await (await ask(path, more)).arrayBuffer());
const text = async (path, more) => (await ask(path, more)).text();

async function status(path, more) {
  const response = await ask(path, more);
  await response.arrayBuffer();
  return String(response.status);
}

function stream() {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= upload.length) return controller.close();
      controller.enqueue(upload.slice(at, (at += 100000)));
    },
  });
}

const items = [];
for (let number = 0; number < 30; number++) items.push(await bytes(`/item/${number}`));
console.log(
  JSON.stringify({
    items: digest(...items),
    zipped: digest(await bytes("/zipped")),
    moved: await text("/moved"),
    see_other: await text("/see-other", { method: "POST", body: new URLSearchParams({ name: "x" }) }),
    head: (await ask("/large", { method: "HEAD" })).headers.get("content-length"),
    put: await text("/echo", { method: "PUT", body: "12345" }),
    delete: await text("/echo", { method: "DELETE" }),
    options: await text("/echo", { method: "OPTIONS" }),
    upload: await text("/upload", { method: "POST", body: upload }),
    chunked: await text("/upload", { method: "POST", body: stream(), duplex: "half" }),
    range: digest(await bytes("/large", { headers: { Range: "bytes=1000-1999" } })),
    large: digest(await bytes("/large")),
    stream: digest(await bytes("/stream")),
    empty: await status("/empty"),
    unchanged: await status("/unchanged", { headers: { "If-None-Match": '"v1"' } }),
    missing: await status("/missing"),
    events: (await text("/events")).split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join(),
  }),
);

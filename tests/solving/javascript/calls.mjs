// node calls.mjs SHIELD.JS: makes the calls that come on stdin, a JSON object a line, and says what came of each.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { shieldFetch } = await import(pathToFileURL(process.argv[2]));
const clients = new Map();

async function call({ client, url, method = "GET", body, budget, parallel = 1, headers = {}, stream, abort }) {
  if (!clients.has(client)) clients.set(client, shieldFetch({ budget }));
  const fetch = clients.get(client);
  const signal = abort ? AbortSignal.timeout(abort) : undefined;
  const one = async () => {
    const sent = stream ? new Blob([body]).stream() : body;
    const response = await fetch(url, { method, body: sent, headers, signal, ...(stream ? { duplex: "half" } : {}) });
    return [response.status, await response.text()];
  };
  return Promise.all(Array.from({ length: parallel }, one));
}

for await (const line of createInterface({ input: process.stdin })) {
  let found;
  try {
    found = { replies: await call(JSON.parse(line)) };
  } catch (error) {
    found = { error: error.code ?? error.name, text: error.message };
  }
  console.log(JSON.stringify(found));
}

// node vectors.mjs SHIELD.JS WORKER.JS VECTORS.JSON: what the module, and the page's own solver, make of the vectors.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import vm from "node:vm";

const [module, worker, file] = process.argv.slice(2);
const { readChallenge, solve } = await import(pathToFileURL(module));
const vectors = JSON.parse(readFileSync(file, "utf8"));
const source = readFileSync(worker, "utf8");

// The browser's source as a page and as a worker have it, with WebAssembly and without.
function browser(wasm, inWorker) {
  const messages = [];
  const scope = { postMessage: (found) => messages.push(found) };
  if (inWorker) scope.WorkerGlobalScope = class {};
  vm.createContext(scope);
  if (!wasm) vm.runInContext("WebAssembly = undefined", scope);
  vm.runInContext(source, scope);
  if (!inWorker) return scope.shieldWork;
  return (job) => {
    scope.job = { data: job };
    vm.runInContext("onmessage(job)", scope);
    return messages.pop();
  };
}

const hex = (value) => value.toString(16).padStart(16, "0");

// Whether a nonce meets a target that is one above its hash, and not its hash itself. A job begins at a multiple of 4.
function hashes(work) {
  return vectors.hashes.map(({ token, index, nonce, sha256 }) => {
    const first = BigInt(`0x${sha256.slice(0, 16)}`);
    const job = { token, index, nonce: nonce - (nonce % 4), count: 4 };
    const above = work({ ...job, target: hex(first + 1n) });
    const at = work({ ...job, target: hex(first) });
    return [above >= job.nonce && above <= nonce, at !== nonce];
  });
}

function smallest(work) {
  return vectors.solutions.map(({ token, k, target }) =>
    Array.from({ length: k }, (_, index) => {
      for (let nonce = 0; ; nonce += 1024) {
        const found = work({ token, index, nonce, count: 1024, target });
        if (found >= 0) return found;
      }
    }),
  );
}

const pages = { simd: browser(true, false), plain: browser(false, false), worker: browser(true, true) };
const documents = vectors.documents.map(({ document }) => {
  try {
    const found = readChallenge(document, vectors.site);
    return found && { hashes: Math.round(found.hashes), answer_to: found.answerTo };
  } catch (error) {
    return error.code === "not_understood" ? "refused" : String(error);
  }
});
const solutions = [];
for (const { token, k, target } of vectors.solutions) solutions.push(await solve({ token, k, target }));
const hard = { token: "A", k: 4, target: hex(2n ** 46n) }; // 2^20 hashes
console.log(
  JSON.stringify({
    documents,
    solutions,
    byWorkers: await solve(hard, { budget: { workers: 2, seconds: 60 } }),
    pages: Object.fromEntries(
      Object.entries(pages).map(([name, work]) => [name, { hashes: hashes(work), smallest: smallest(work) }]),
    ),
  }),
);

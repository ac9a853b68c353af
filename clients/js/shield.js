// Calls a site behind Shield, from Node and from browsers: solves its challenge when asked, within a budget, keeps the
// pass, and makes the call again. docs/protocol.md in Shield's repository is what it follows.
//
//     const fetch = shieldFetch({ budget: { seconds: 10 } });
//     const response = await fetch("https://site.example/feed");
//
// The hashing is work.js: the solver of Shield's own challenge page, as it is.

const BROWSER = typeof document === "object" || typeof WorkerGlobalScope === "function";
const ALGORITHM = "sha256";
const PROBLEMS = "/.well-known/shield/problems/";
const MOST_BODY = 16_384; // bytes of a body that is read to see whether it is a challenge
const MOST_CHALLENGES = 2; // of one call: the second when the first was answered too late
const MOST_SENDS = 100; // of one answer or ticket
const MOST_REDIRECTS = 20; // as fetch has it
const MOST_ORIGINS = 1000; // whose passes are kept
const MOST_WORKERS = 16;
const FEW_HASHES = 2 ** 17; // below so many a worker takes longer to start than the search takes
const SLICE = 0.05; // seconds of work in one job of a worker,
const HERE_SLICE = 0.01; // and of the page or program itself, which must stay responsive
const FIRST_JOB = 8192; // hashes, before the speed is known; a multiple of 4 as all jobs are
const JUDGED_AFTER = 0.3; // seconds after which the speed is known well enough to say whether the budget is enough
const HOPELESS = 2; // times the budget, above which the search is given up at once
const LEAST_WAIT = 0.2; // seconds
const USUAL_WAIT = 2; // seconds, where the site does not say how many
const ANEW = ["expired", "spent", "forged", "foreign"]; // why an answer is not taken where a new challenge may help
const PORTS = { "http:": "80", "https:": "443" };
const FRAMING = ["connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];
const USUAL_BUDGET = { seconds: 10, bits: Infinity, wait: 60, workers: undefined };

// No pass has been got. `code` says why: too_expensive, not_understood, turned_down (with `reason`), no_worker.
export class ShieldError extends Error {
  constructor(code, text, reason = "") {
    super(text);
    this.name = "ShieldError";
    this.code = code;
    this.reason = reason;
  }
}

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, 1000 * seconds);
    signal?.addEventListener("abort", stop, { once: true });
  });

// --- what a site asks ---------------------------------------------------------------------------------------------

const originOf = (url) => `${url.protocol}//${url.hostname}:${url.port || PORTS[url.protocol]}`;

// The challenge in a problem document that came from `from`; null when there is none in it. ShieldError: none can be.
export function readChallenge(problem, from) {
  const asked = problem?.challenge ?? null;
  if (asked === null) return null;
  const wrong = (text) => new ShieldError("not_understood", text);
  if (typeof asked !== "object") throw wrong("challenge: no object");
  if (asked.algorithm !== ALGORITHM) throw wrong(`algorithm: not ${ALGORITHM}`);
  const { token, k, target, answer_to: answer } = asked;
  if (typeof token !== "string" || !/^[0-9A-Za-z_-]{1,128}$/.test(token)) throw wrong("token: not 1 to 128 letters, digits, - and _");
  if (!Number.isInteger(k) || k < 1 || k > 255) throw wrong("k: no whole number from 1 to 255");
  if (typeof target !== "string" || !/^[0-9A-Fa-f]{16}$/.test(target) || /^0+$/.test(target)) {
    throw wrong("target: not 16 hexadecimal digits above zero");
  }
  if (typeof answer !== "string" || answer.length > 2048 || !URL.canParse(answer, from)) throw wrong("answer_to: no address");
  const to = new URL(answer, from);
  if (originOf(to) !== originOf(new URL(from))) throw wrong("answer_to: at another origin");
  return { token, k, target, hashes: (k * 2 ** 64) / Number(`0x${target}`), answerTo: to.href };
}

// --- the search ---------------------------------------------------------------------------------------------------

// Each hand does one job at a time: work(job) resolves to the nonce found, or -1.
function handOf(post, listen, stop) {
  let settle = null;
  listen((found) => settle?.resolve(found), (error) => settle?.reject(error));
  const work = (job) =>
    new Promise((resolve, reject) => {
      settle = { resolve, reject };
      post(job);
    });
  return { slice: SLICE, work, stop };
}

function browserHand() {
  const worker = new Worker(new URL("./work.js", import.meta.url));
  const listen = (found, failed) => {
    worker.onmessage = ({ data }) => found(data);
    worker.onerror = (event) => {
      event.preventDefault();
      failed(new ShieldError("no_worker", "the worker does not start"));
    };
  };
  return handOf((job) => worker.postMessage(job), listen, () => worker.terminate());
}

function nodeHand({ Worker: Thread }) {
  const code = `const { parentPort } = require("node:worker_threads");
    import(${JSON.stringify(new URL("./work.js", import.meta.url).href)}).then(() =>
      parentPort.on("message", (job) => parentPort.postMessage(globalThis.shieldWork(job))));`;
  const thread = new Thread(code, { eval: true, env: {}, execArgv: [] });
  const listen = (found, failed) => thread.on("message", found).on("error", failed);
  return handOf((job) => thread.postMessage(job), listen, () => thread.terminate());
}

async function handHere() {
  if (typeof WorkerGlobalScope === "function") throw new ShieldError("no_worker", "no worker can be started here");
  await import("./work.js");
  const work = async (job) => {
    await pause(0); // a task of its own, so that the page or program gets its turn
    return globalThis.shieldWork(job);
  };
  return { slice: HERE_SLICE, work, stop() {} };
}

async function workersOf(most, wanted) {
  const hands = [];
  try {
    const node = BROWSER ? null : await import("node:worker_threads");
    const { availableParallelism } = BROWSER ? {} : await import("node:os");
    const cores = BROWSER ? navigator.hardwareConcurrency || 2 : availableParallelism();
    while (hands.length < Math.min(wanted ?? cores, most, MOST_WORKERS)) hands.push(BROWSER ? browserHand() : nodeHand(node));
  } catch {
    // no workers, or no more of them
  }
  return hands;
}

// Resolves to the nonces of a challenge (of readChallenge, or { token, k, target }). Options: `budget`, `signal`, and
// `progress`, which is told { solved, k, hashes, seconds, left }. ShieldError above the budget; the signal's reason.
export async function solve(challenge, { budget = {}, signal, progress } = {}) {
  const { seconds: most, bits, workers } = { ...USUAL_BUDGET, ...budget };
  const { token, k, target } = challenge;
  const each = 2 ** 64 / Number(`0x${target}`); // hashes for one sub-puzzle, on average
  if (Math.log2(k * each) > bits) {
    throw new ShieldError("too_expensive", `the challenge takes 2^${Math.log2(k * each).toFixed(1)} hashes, and the budget is 2^${bits}`);
  }
  const parts = Array.from({ length: k }, (_, index) => ({ index, nonce: -1, next: 0, hands: 0 }));
  const started = performance.now();
  let hashes = 0;
  let judged = false;
  let over = false;

  const check = () => {
    signal?.throwIfAborted();
    const seconds = (performance.now() - started) / 1000;
    const solved = parts.filter((part) => part.nonce >= 0).length;
    const left = ((k - solved) * each * seconds) / Math.max(hashes, 1);
    progress?.({ solved, k, hashes, seconds, left });
    over = solved === k;
    if (over) return;
    const needs = `some ${Math.ceil(left)} s`;
    if (seconds > most) throw new ShieldError("too_expensive", `not solved within ${most} s; it would take ${needs} more`);
    if (seconds > JUDGED_AFTER && !judged) {
      judged = true;
      if (left > HOPELESS * most) throw new ShieldError("too_expensive", `the challenge would take ${needs} here, and the budget is ${most} s`);
    }
  };

  const run = async (hand) => {
    let speed = 0;
    while (!over) {
      // The unsolved part with the fewest hands: near the end several share one, on different nonces.
      const part = parts.filter((one) => one.nonce < 0).reduce((x, y) => (y.hands < x.hands ? y : x));
      const room = 2 ** 32 - (part.next % 2 ** 32); // a job stays within one high word
      const count = Math.min(room, Math.max(1024, Math.ceil((speed * hand.slice) / 4) * 4 || FIRST_JOB));
      const job = { token, index: part.index, nonce: part.next, count, target };
      part.next += count;
      part.hands++;
      const since = performance.now();
      const found = await hand.work(job);
      part.hands--;
      const done = found < 0 ? count : found - job.nonce + 1;
      hashes += done;
      if (done > 1000) speed = done / Math.max(0.001, (performance.now() - since) / 1000);
      if (found >= 0 && part.nonce < 0) part.nonce = found;
      if (!over) check();
    }
  };

  signal?.throwIfAborted();
  const hands = k * each <= FEW_HASHES ? [] : await workersOf(k, workers);
  let abort;
  try {
    const aborted = new Promise((_, reject) => {
      abort = () => reject(signal.reason);
      signal?.addEventListener("abort", abort, { once: true });
    });
    const searching = async () => {
      try {
        if (hands.length) return await Promise.all(hands.map(run));
      } catch (error) {
        if (error.code !== "no_worker") throw error;
        for (const hand of hands) hand.stop();
      }
      for (const part of parts) part.next = 0; // what a worker was given may not have been done
      return run(await handHere());
    };
    await Promise.race([searching(), aborted]);
  } finally {
    over = true;
    signal?.removeEventListener("abort", abort);
    for (const hand of hands) hand.stop();
  }
  return parts.map((part) => part.nonce);
}

// --- the calls ----------------------------------------------------------------------------------------------------

// The passes of origins ("https://site.example:443"); may be shared by several shieldFetch. In a browser the pass is in
// a cookie that no script sees, and nothing is kept here.
export class Passes {
  #kept = new Map();

  get(origin) {
    const found = this.#kept.get(origin);
    if (found && found.until > Date.now()) return found;
    this.#kept.delete(origin);
    return undefined;
  }

  keep(origin, { pass, header, lifetime }) {
    this.#kept.delete(origin);
    this.#kept.set(origin, { pass, header, until: Date.now() + 1000 * Math.min(lifetime, 400 * 86_400) });
    if (this.#kept.size > MOST_ORIGINS) this.#kept.delete(this.#kept.keys().next().value);
  }

  drop(origin, shown) {
    if (this.#kept.get(origin)?.pass === shown?.pass) this.#kept.delete(origin);
  }
}

function readPass(said) {
  const { pass, header, lifetime } = said ?? {};
  const fine =
    typeof pass === "string" && /^[0-9A-Za-z_-]{1,512}$/.test(pass) &&
    typeof header === "string" && /^[0-9A-Za-z-]{1,64}$/.test(header) && !FRAMING.includes(header.toLowerCase()) &&
    typeof lifetime === "number" && lifetime > 0;
  if (!fine) throw new ShieldError("not_understood", "the site's answer has no pass");
  return { pass, header, lifetime };
}

function retryAfter(response) {
  const value = response.headers.get("Retry-After");
  return value !== null && /^[0-9]{1,9}$/.test(value) ? Number(value) : null;
}

// The problem document in a response, which stays readable; undefined where there is none.
async function problemOf(response) {
  const kind = (response.headers.get("Content-Type") ?? "").split(";")[0].trim().toLowerCase();
  const length = response.headers.get("Content-Length");
  if (![429, 503].includes(response.status) || kind !== "application/problem+json") return undefined;
  if (length === null ? !BROWSER : Number(length) > MOST_BODY) return undefined;
  return response.clone().json().catch(() => undefined);
}

// A fetch that solves what it is asked to. Options: `budget`, `passes`, `progress`, and `fetch`, which makes the calls.
// A call is made again at most once after a pass was got, once more when the answer came too late, and once after a wait.
export function shieldFetch({ fetch: call = globalThis.fetch.bind(globalThis), budget = {}, passes = new Passes(), progress } = {}) {
  const limits = { ...USUAL_BUDGET, ...budget };
  const buying = new Map(); // origin -> the purchase that is under way

  const buy = async (challenge, like, patience, signal) => {
    const nonces = await solve(challenge, { budget: limits, signal, progress });
    let said = { token: challenge.token, nonces };
    for (let turn = 0; turn < MOST_SENDS; turn++) {
      const response = await call(challenge.answerTo, { ...like, method: "POST", body: JSON.stringify(said), signal, redirect: "manual" });
      const told = await response.json().catch(() => ({}));
      if (response.status === 200) return readPass(told);
      if (response.status === 202 && typeof told?.ticket === "string") said = { ticket: told.ticket };
      else if (response.status === 400 && ANEW.includes(told?.reason)) return null;
      else if (![429, 503].includes(response.status)) {
        const reason = String(told?.reason ?? "").slice(0, 60);
        throw new ShieldError("turned_down", `the site did not take the answer: ${reason || `status ${response.status}`}`, reason);
      }
      await patience.wait(retryAfter(response), signal);
    }
    throw new ShieldError("too_expensive", "the site keeps asking to wait");
  };

  // One pass is bought at a time for an origin. Who waits for another's starts anew when that one has failed.
  const another = async (origin, challenge, shown, like, patience, signal) => {
    passes.drop(origin, shown);
    for (;;) {
      const kept = passes.get(origin);
      if (kept) return true;
      const first = buying.get(origin);
      if (!first) break;
      const bought = await first.catch(() => undefined);
      signal?.throwIfAborted();
      if (bought) return true;
    }
    const purchase = buy(challenge, like, patience, signal);
    buying.set(origin, purchase);
    try {
      const bought = await purchase;
      if (bought && !BROWSER) passes.keep(origin, bought);
      return bought !== null;
    } finally {
      buying.delete(origin);
    }
  };

  const converse = async (request) => {
    const url = new URL(request.url);
    const origin = originOf(url);
    const patience = patienceOf(limits.wait);
    let waited = false;
    for (let challenges = 0; ; ) {
      const shown = passes.get(origin);
      const sent = new Request(request.clone(), BROWSER ? {} : { redirect: "manual" });
      if (shown && !sent.headers.has(shown.header)) sent.headers.set(shown.header, shown.pass);
      const response = await call(sent);
      const problem = await problemOf(response);
      const challenge = response.status === 503 ? readChallenge(problem, response.url || request.url) : null;
      if (challenge !== null) {
        if (++challenges > MOST_CHALLENGES) return response;
        const headers = { "Content-Type": "application/json", Accept: "application/json" };
        for (const name of ["User-Agent", "Accept-Language"]) {
          if (request.headers.has(name)) headers[name] = request.headers.get(name);
        }
        const like = { headers, credentials: request.credentials };
        if (await another(originOf(new URL(challenge.answerTo)), challenge, shown, like, patience, request.signal)) challenges = MOST_CHALLENGES;
      } else if ([`${PROBLEMS}limit`, `${PROBLEMS}shed`].includes(problem?.type) && !waited && patience.enough(retryAfter(response))) {
        waited = true;
        await patience.wait(retryAfter(response), request.signal);
      } else return response;
      await response.body?.cancel();
    }
  };

  return async (input, init) => {
    let request = new Request(input, init);
    if (BROWSER || request.redirect !== "follow") return converse(request);
    // fetch would show the pass of one origin to the next, so redirects are followed here, by the rules of fetch.
    for (let hops = 0; ; hops++) {
      const again = request.clone();
      const response = await converse(request);
      const to = [301, 302, 303, 307, 308].includes(response.status) ? response.headers.get("Location") : null;
      if (to === null) return response;
      if (hops >= MOST_REDIRECTS || !URL.canParse(to, request.url)) throw new TypeError("fetch failed: redirects that do not end, or lead nowhere");
      await response.body?.cancel();
      request = redirected(again, new URL(to, request.url), response.status);
    }
  };
}

function redirected(request, url, status) {
  const plain = (status === 303 && !["GET", "HEAD"].includes(request.method)) || (status < 303 && request.method === "POST");
  const next = plain ? new Request(url, { method: "GET", headers: request.headers, signal: request.signal }) : new Request(url, request);
  const away = originOf(url) !== originOf(new URL(request.url));
  const gone = [...(plain ? ["Content-Encoding", "Content-Language", "Content-Location", "Content-Type", "Content-Length"] : []),
    ...(away ? ["Authorization", "Proxy-Authorization", "Cookie", "Host"] : [])];
  for (const name of gone) next.headers.delete(name);
  return next;
}

function patienceOf(most) {
  let left = most;
  return {
    enough: (seconds) => seconds !== null && seconds <= left,
    async wait(seconds, signal) {
      const wanted = Math.max(seconds ?? USUAL_WAIT, LEAST_WAIT);
      if (wanted > left) throw new ShieldError("too_expensive", `the site asks to wait ${wanted} s, and ${Math.max(left, 0)} s of budget are left`);
      left -= wanted;
      await pause(wanted, signal);
    },
  };
}

// For the site's own pages: buys the next pass in the background before the one that a page came with ends.
//
//     <script src="/.well-known/shield/renew.js" async></script>
//     <script src="/.well-known/shield/renew.js" data-fetch></script>    and have fetch() solve what it meets
//
// It asks Shield now and then, and only for a page that is used: somebody touches it, or it asks its site for something.
// One worker, or the page itself in short slices, does the work. After two failures it waits for some minutes.
// shieldRenew() renews at once where it is time, and resolves to whether there is a pass or none is needed.
"use strict";
(() => {
  const SLICE = 0.04; // seconds of work in one job in a worker,
  const PAGE_SLICE = 0.008; // and on the page, which must stay responsive
  const FIRST_JOB = 4096; // hashes, before the speed is known; a multiple of 4 as all jobs are
  const HASHWX_JOB = 256; // the same in HashWX
  const SILENCE = 5000; // ms without a word from the worker, after which the page does the work
  const MOST_SENDS = 6; // of one answer that nobody takes or turns away
  const QUEUE = 120_000; // ms in the waiting room
  const USED = 120_000; // ms for which a page counts as used
  const LATER = 300; // seconds until the next try after two failures

  const script = document.currentScript;
  const base = new URL(".", script.src);
  const fetched = globalThis.fetch.bind(globalThis);
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const near = base.origin === location.origin;

  // --- the search -----------------------------------------------------------------------------------------------

  // Does one job at a time: its nonce, -1 for none, null when it cannot work.
  function workerHand() {
    // A worker must come from the page's own origin; it may import a script of another one.
    const text = `importScripts(${JSON.stringify(`${base}worker.js`)})`;
    const url = near ? `${base}worker.js` : URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const worker = new Worker(url);
    const work = (job) =>
      new Promise((resolve) => {
        const silence = setTimeout(resolve, SILENCE, null);
        const tell = (found) => {
          clearTimeout(silence);
          resolve(found);
        };
        worker.onmessage = ({ data }) => tell(data);
        worker.onerror = (event) => {
          event.preventDefault();
          tell(null);
        };
        worker.postMessage(job);
      });
    return { slice: SLICE, work, stop: () => worker.terminate() };
  }

  let loaded = null; // the solver, on the page
  async function pageHand() {
    loaded ??= new Promise((resolve, reject) => {
      const element = document.createElement("script");
      Object.assign(element, { src: `${base}worker.js`, onload: resolve, onerror: reject, nonce: script.nonce });
      document.head.append(element);
    });
    await loaded;
    const attempt = (job) => {
      try {
        return globalThis.shieldWork(job);
      } catch {
        return null; // the page's policy forbids WebAssembly
      }
    };
    const work = (job) => new Promise((resolve) => setTimeout(() => resolve(attempt(job))));
    return { slice: PAGE_SLICE, work, stop() {} };
  }

  // HashWX where it is asked for and to be had here, else SHA-256: the token that is answered, and its nonces.
  async function solve(asked) {
    const { hashwx } = asked;
    if (hashwx && typeof WebAssembly === "object") {
      try {
        const reply = await fetched(new URL(hashwx.module, base));
        const module = reply.ok && (await reply.arrayBuffer());
        if (module) return { token: hashwx.token, nonces: await search({ ...hashwx, module }) };
      } catch {
        // the other one, then
      }
    }
    return { token: asked.token, nonces: await search(asked) };
  }

  async function search({ token, k, target, module }) {
    const first = module ? HASHWX_JOB : FIRST_JOB;
    let hand;
    let onPage = false;
    try {
      hand = workerHand();
    } catch {
      onPage = true; // no workers here
      hand = await pageHand();
    }
    const nonces = [];
    let count = first;
    for (let nonce = 0; nonces.length < k; ) {
      const began = performance.now();
      const found = await hand.work({ token, index: nonces.length, nonce, count, target, module });
      const took = Math.max(1, performance.now() - began) / 1000;
      if (found === null) {
        if (onPage) throw new Error("no solver");
        hand.stop();
        onPage = true;
        hand = await pageHand();
        count = first;
        continue;
      }
      if (found >= 0) {
        nonces.push(found);
        nonce = 0;
        continue;
      }
      nonce += count;
      const room = 2 ** 32 - (nonce % 2 ** 32);
      count = Math.min(room, 4 * Math.ceil((((count / took) * hand.slice) || first) / 4));
    }
    hand.stop();
    return nonces;
  }

  // --- what Shield is asked and told ----------------------------------------------------------------------------

  async function ask() {
    const headers = { Accept: "application/json" };
    const reply = await fetched(`${base}pass`, { credentials: "include", cache: "no-store", headers });
    if (!reply.ok) throw new Error(`Shield: ${reply.status}`);
    return reply.json();
  }

  // Sends an answer and waits for its turn. Whether a pass was bought; throws when Shield is not reached.
  async function send(said, until) {
    for (let turn = 1; turn <= MOST_SENDS && Date.now() < until; turn++) {
      let wait = 2 ** turn / 4;
      try {
        const headers = { "Content-Type": "application/json" };
        const body = JSON.stringify(said);
        const reply = await fetched(`${base}answer`, { method: "POST", credentials: "include", headers, body });
        if (reply.status === 200) return true;
        const told = await reply.json().catch(() => ({}));
        if (reply.status === 202) {
          if (!said.ticket) until = Date.now() + QUEUE;
          said = { ticket: told.ticket };
          turn = 0;
        } else if (told.reason === "busy") turn = 0;
        else if (reply.status < 500 && reply.status !== 429) return false;
        wait = Math.min(60, Number(reply.headers.get("Retry-After")) || 2);
      } catch {
        // no connection; it may come back
      }
      await pause(1000 * wait * (1 + Math.random() / 4));
    }
    return false;
  }

  let boughtAt = -1; // when a pass was last bought here

  // Buys what is due: what Shield says of the pass in the end. `challenge`: one that a call has just met.
  async function buy(challenge) {
    let told = await ask();
    let bought = false;
    for (let turn = 0; turn < 2 && (challenge || told.challenge); turn++) {
      const asked = told.challenge ?? challenge;
      challenge = null;
      if (asked.algorithm !== "sha256") throw new Error(`Shield: ${asked.algorithm} is not known here`);
      const until = Date.now() + 1000 * asked.expires_in;
      bought = await send(await solve(asked), until);
      told = await ask();
    }
    if (bought) boughtAt = performance.now();
    if (told.challenge) throw new Error("Shield asks again and again");
    return told;
  }

  let going = null; // one purchase for all who want one
  async function renew(challenge) {
    if (challenge && going) {
      const since = performance.now();
      const told = await going.catch(() => null); // a page elsewhere may not ask before its first call
      if (told && boughtAt >= since) return told;
    }
    going ??= (async () => {
      try {
        // One tab after another: the second finds the pass of the first.
        const alone = () => buy(challenge);
        return await (navigator.locks ? navigator.locks.request(`shield-renew ${base}`, alone) : alone());
      } finally {
        going = null;
      }
    })();
    return going;
  }

  // --- when -----------------------------------------------------------------------------------------------------

  let timer = 0;
  let due = false; // it is time, and nobody uses the page
  let failures = 0;
  let usedAt = Date.now();

  async function look(challenge) {
    clearTimeout(timer);
    due = false;
    let again;
    try {
      again = (await renew(challenge)).again_in;
      failures = 0;
    } catch {
      failures++;
      again = failures < 2 ? 15 : LATER;
    }
    clearTimeout(timer);
    timer = setTimeout(() => (Date.now() - usedAt < USED ? look() : (due = true)), 1000 * again * (0.9 + Math.random() / 10));
    return failures === 0;
  }

  function use() {
    usedAt = Date.now();
    if (due) look();
  }

  for (const event of ["pointerdown", "keydown", "scroll", "touchstart"]) {
    addEventListener(event, use, { passive: true, capture: true });
  }
  addEventListener("online", () => look());
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && use());
  try {
    const own = (entry) => entry.name.startsWith(`${base.origin}/`) && !entry.name.startsWith(`${base}`);
    new PerformanceObserver((list) => list.getEntries().some(own) && use()).observe({ type: "resource" });
  } catch {
    // an old browser: touching the page has to do
  }

  globalThis.shieldRenew = () => look();

  // --- calls that are challenged all the same -------------------------------------------------------------------

  if (script.dataset.fetch !== undefined) {
    globalThis.fetch = async (input, init) => {
      const stream = typeof ReadableStream === "function" && init?.body instanceof ReadableStream;
      if (stream) return fetched(input, init); // it cannot be sent twice
      const request = new Request(input instanceof Request ? input.clone() : input, init);
      if (new URL(request.url).origin !== base.origin) return fetched(input, init);
      const began = performance.now();
      const reply = await fetched(request.clone());
      const type = reply.headers.get("Content-Type") ?? "";
      if (reply.status !== 503 || !type.startsWith("application/problem+json")) return reply;
      const { challenge } = await reply.clone().json().catch(() => ({}));
      if (!challenge) return reply;
      if (boughtAt < began && !(await look(challenge))) return reply;
      return fetched(request);
    };
  }

  look();
})();

// The challenge page: hands the sub-puzzles out to workers, sends the answer, and goes on to where the visitor was going.
//
// A page ends in one of the states whose words stand in challenge.html (data-state). It never tries for ever: see `tried`.
"use strict";

const SLICE = 0.04; // seconds of work in one job: short enough to stop soon, long enough that messages cost nothing
const PAGE_SLICE = 0.012; // the same on the page itself, which must stay responsive
const FIRST_JOB = 8192; // hashes in a first job, before the speed is known; a multiple of 4 as all jobs are
const HASHWX_JOB = 4096; // the same in HashWX, which makes a function for so many
const HASHWX_PAGE_JOB = 256;
const SILENCE = 4000; // ms without a word from any worker, after which the page itself lends a hand
const MOST_WORKERS = 8;
const REST = 30_000; // ms for which a tab that nobody looks at does nothing; then one hand goes on
const MOST_ROUNDS = 2; // answers within PERIOD that were accepted, or were not, before the page says what to do
const PERIOD = 120_000; // ms, the life of a bought pass
const MOST_SENDS = 6; // of one answer that nobody takes or turns away
const QUEUE = 120_000; // ms in the waiting room; the site itself keeps nobody there for so long

const main = document.getElementById("challenge");
const task = document.getElementById("task").dataset;
const busy = document.getElementById("busy");
busy.insertAdjacentHTML("afterend", document.getElementById("states").textContent);
const again = document.getElementById("again");
const bar = document.getElementById("bar");
const left = document.getElementById("left");
const { then } = task;
// Whole addresses: one that is relative has the name and password of the page's own, and a browser fetches none with these.
const site = location.origin;
const answer = site + task.answer;
const others = typeof BroadcastChannel === "function" ? new BroadcastChannel("shield") : null;

const named = document.title.replace(main.querySelector("h1").textContent, ""); // " – the site's name"

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function show(state) {
  for (const text of main.querySelectorAll("[data-state]")) text.hidden = text.dataset.state !== state;
  const going = ["working", "queue", "waiting", "offline", "passed"].includes(state);
  busy.hidden = document.getElementById("progress").hidden = !going;
  if (state !== "working" && state !== "queue") left.textContent = "";
  again.hidden = !["cookies", "loop", "failed"].includes(state);
  document.title = main.querySelector("section:not([hidden]) h1").textContent + named;
  main.dataset.now = state;
}

// --- the search -------------------------------------------------------------------------------------------------

// A hand does one job at a time: it calls back with the nonce found or -1, or with null when it cannot work.
function workerHand(callback) {
  const work = document.getElementById("work"); // its text, in a page that brings all along
  const url = work.src || URL.createObjectURL(new Blob([work.textContent], { type: "text/javascript" }));
  const worker = new Worker(url);
  worker.onmessage = ({ data }) => callback(data);
  worker.onerror = (event) => {
    event.preventDefault();
    callback(null);
  };
  return { slice: SLICE, unit: HASHWX_JOB, give: (job) => worker.postMessage(job), stop: () => worker.terminate() };
}

function pageHand(callback) {
  let timer = 0;
  const give = (job) => {
    timer = setTimeout(() => {
      let found = null;
      try {
        found = globalThis.shieldWork(job);
      } catch {
        // not here: no WebAssembly, or none of this size
      }
      callback(found);
    });
  };
  return { slice: PAGE_SLICE, unit: HASHWX_PAGE_JOB, give, stop: () => clearTimeout(timer) };
}

// Solves `puzzle` and resolves to its nonces; rejects when nothing here can. `progress(done, hashes a second)`.
function search(puzzle, signal, progress) {
  return new Promise((resolve, reject) => {
    const parts = Array.from({ length: puzzle.k }, () => ({ nonce: -1, next: 0, hands: 0 }));
    const hands = new Set();
    const resting = new Set(); // hands of a tab that nobody looks at
    let onPage = false;
    let silence = 0;
    let rest = 0;
    let restedAt = 0;
    let started = performance.now();
    let hashes = 0;

    const finish = (settle, value) => {
      clearTimeout(silence);
      clearTimeout(rest);
      document.removeEventListener("visibilitychange", look);
      for (const hand of hands) hand.stop();
      hands.clear();
      settle(value);
    };

    // The unsolved part with the fewest hands on it: near the end several hands share a part, on different nonces.
    const pick = () => parts.filter((part) => part.nonce < 0).reduce((x, y) => (y.hands < x.hands ? y : x));

    const assign = (hand) => {
      if (document.hidden && !hand.alone) {
        if (resting.size === 0) {
          restedAt = performance.now();
          rest = setTimeout(goOn, REST);
        }
        resting.add(hand);
        clearTimeout(silence);
        return;
      }
      const part = pick();
      const room = 2 ** 32 - (part.next % 2 ** 32);
      const unit = puzzle.module ? hand.unit : 4;
      const least = puzzle.module ? unit : 1024;
      const first = puzzle.module ? unit : FIRST_JOB;
      const count = Math.min(room, Math.max(least, Math.ceil((hand.speed * hand.slice) / unit) * unit || first));
      hand.part = part;
      hand.since = performance.now();
      const { token, target, module } = puzzle;
      hand.job = { token, index: parts.indexOf(part), nonce: part.next, count, target, module };
      part.next += count;
      part.hands++;
      hand.give(hand.job);
    };

    const report = (hand, nonce) => {
      if (!hands.has(hand)) return;
      hand.part.hands--;
      if (nonce === null) {
        hands.delete(hand);
        hand.stop();
        if (hands.size > 0) return;
        if (onPage) finish(reject, new Error("no solver"));
        else workOnPage();
        return;
      }
      listen();
      const done = nonce < 0 ? hand.job.count : nonce - hand.job.nonce + 1;
      hashes += done;
      // A find right at the start of a job says nothing of the speed.
      if (done > 1000) hand.speed = done / Math.max(0.001, (performance.now() - hand.since) / 1000);
      if (nonce >= 0 && hand.part.nonce < 0) hand.part.nonce = nonce;
      const solved = parts.filter((part) => part.nonce >= 0).length;
      progress(solved, (hashes * 1000) / (performance.now() - started));
      if (solved === parts.length) finish(resolve, parts.map((part) => part.nonce));
      else assign(hand);
    };

    const engage = (hand) => {
      hands.add(hand);
      assign(hand);
    };

    const workOnPage = () => {
      if (onPage || signal.aborted) return;
      onPage = true;
      if (!globalThis.shieldWork) return finish(reject, new Error("no solver"));
      const hand = pageHand((nonce) => report(hand, nonce));
      engage(hand);
    };

    // One hand goes on after a rest, in spite of nobody looking.
    const goOn = () => {
      const [hand] = resting;
      resting.delete(hand);
      started += performance.now() - restedAt;
      hand.alone = true;
      listen();
      assign(hand);
    };

    const look = () => {
      if (document.hidden) return;
      clearTimeout(rest);
      for (const hand of hands) hand.alone = false;
      const rested = [...resting];
      resting.clear();
      if (rested.length === 0) return;
      if (rested.length === hands.size) started += performance.now() - restedAt;
      listen();
      for (const hand of rested) assign(hand);
    };

    const listen = () => {
      clearTimeout(silence);
      silence = setTimeout(workOnPage, SILENCE);
    };

    listen();
    signal.addEventListener("abort", () => finish(reject, signal.reason));
    document.addEventListener("visibilitychange", look);
    const count = Math.min(MOST_WORKERS, puzzle.k, Math.max(1, (Number(navigator.hardwareConcurrency) || 2) - 1));
    for (let i = 0; i < count; i++) {
      try {
        const hand = workerHand((nonce) => report(hand, nonce));
        engage(hand);
      } catch {
        break; // no workers here
      }
    }
    if (hands.size === 0) workOnPage();
  });
}

function tellTime(seconds) {
  left.textContent = seconds > 1 && Number.isFinite(seconds) ? left.dataset.text.replace("{seconds}", seconds) : "";
}

function drawProgress(puzzle) {
  bar.setAttribute("aria-valuemax", puzzle.k);
  let drawn = [-1, 0];
  return (done, speed) => {
    const now = performance.now();
    if (done === drawn[0] && now - drawn[1] < 500) return;
    drawn = [done, now];
    bar.setAttribute("aria-valuenow", done);
    bar.firstElementChild.style.width = `${(100 * done) / puzzle.k}%`;
    // Each part left takes the same time on average, however long it has been searched: the search has no memory.
    tellTime(Math.ceil((puzzle.expected * (1 - done / puzzle.k)) / speed));
  };
}

// --- the way there and on -----------------------------------------------------------------------------------------

// When this tab's answers were accepted, and when they were not. Who is challenged again and again in spite of accepted
// ones has lost the pass on the way. Throws where the browser refuses storage, which it does together with cookies.
const tried = {
  all: () => JSON.parse(sessionStorage.getItem("shield") ?? "[]").filter(([time]) => Date.now() - time < PERIOD),
  enough: (accepted) => tried.all().filter(([, was]) => was === accepted).length >= MOST_ROUNDS,
  add: (accepted) => sessionStorage.setItem("shield", JSON.stringify([...tried.all(), [Date.now(), accepted]])),
  clear: () => sessionStorage.removeItem("shield"),
};

function read() {
  const { token, k, target, expected, expires, hashwx } = task;
  const until = Date.now() + 1000 * Number(expires);
  return { token, target, k: Number(k), expected: Number(expected), until, hashwx: hashwx && JSON.parse(hashwx) };
}

// What is to be solved, and what else where that fails: HashWX where it is asked for and this browser can.
async function choices(puzzle) {
  if (!puzzle.hashwx || typeof WebAssembly !== "object") return [puzzle];
  const { expected_hashes: expected, module: address, ...rest } = puzzle.hashwx;
  try {
    const response = await fetch(site + address);
    if (!response.ok) return [puzzle];
    return [{ ...puzzle, ...rest, expected, module: await response.arrayBuffer() }, puzzle];
  } catch {
    return [puzzle];
  }
}

async function solve(puzzle, signal) {
  const [first, other] = await choices(puzzle);
  try {
    return [first.token, await search(first, signal, drawProgress(first))];
  } catch (error) {
    if (!other || signal.aborted) throw error;
    return [other.token, await search(other, signal, drawProgress(other))];
  }
}

// A new challenge for a page that must not be reloaded because it holds a form. Null when none is asked any more.
async function renew() {
  const response = await fetch(site + location.pathname + location.search, { headers: { Accept: "application/problem+json" }, cache: "no-store" });
  const type = response.headers.get("Content-Type") ?? "";
  if (response.status !== 503 || !type.startsWith("application/problem+json")) return null;
  const { challenge } = await response.json();
  if (!challenge) throw new Error("busy");
  const { token, target, k, expected_hashes: expected, expires_in: expires, hashwx } = challenge;
  return { token, target, k, expected, until: Date.now() + 1000 * expires, hashwx };
}

// Waits while the browser knows that it has no connection; whether it did. A page loaded again without one is lost.
async function offline() {
  if (navigator.onLine !== false) return false;
  show("offline");
  await new Promise((resolve) => addEventListener("online", resolve, { once: true }));
  return true;
}

// Sends the answer, and waits for its turn: "accepted", "again" (a new challenge is needed) or "failed".
async function send(token, nonces, until) {
  let said = { token, nonces };
  for (let turn = 1; turn <= MOST_SENDS && Date.now() < until && !leaving; turn++) {
    let wait = 2 ** turn * 250;
    let state = "waiting";
    try {
      const body = JSON.stringify(said);
      const headers = { "Content-Type": "application/json" };
      const response = await fetch(answer, { method: "POST", headers, body, signal: AbortSignal.timeout?.(20_000) });
      if (response.status === 200) return "accepted";
      const told = await response.json().catch(() => ({}));
      if (["expired", "spent", "forged", "foreign"].includes(told.reason)) return "again";
      if (response.status === 202) {
        if (!said.ticket) until = Date.now() + QUEUE;
        said = { ticket: told.ticket };
        turn = 0;
        state = "queue";
        tellTime(told.wait);
      } else if (told.reason === "busy") turn = 0; // no room yet: it says when to come back, until the challenge lapses
      else if (response.status < 500 && response.status !== 429) return "failed";
      wait = 1000 * Math.min(60, Number(response.headers.get("Retry-After")) || 2);
    } catch {
      // no connection; it may come back
      if (await offline()) {
        turn = 0;
        wait = 500;
      }
    }
    if (leaving) break; // another tab was let in
    show(state);
    await pause(wait * (1 + Math.random() / 4));
  }
  return Date.now() < until ? "failed" : "again";
}

let leaving = false;
function leave() {
  if (leaving) return;
  leaving = true;
  others?.close();
  show(then === "resend" ? "resend" : "passed");
  if (then === "reload") location.reload();
  if (then === "submit") HTMLFormElement.prototype.submit.call(document.getElementById("form"));
}

async function run(puzzle, signal) {
  while (!leaving) {
    show("working");
    const [token, nonces] = await solve(puzzle, signal);
    const result = Date.now() < puzzle.until ? await send(token, nonces, puzzle.until) : "again";
    if (leaving) return;
    tried.add(result === "accepted");
    if (result === "failed") return show("failed");
    if (result === "accepted") {
      others?.postMessage("passed");
      return leave();
    }
    if (tried.enough(false)) return show("failed");
    await offline();
    if (then === "reload") return location.reload();
    puzzle = await renew();
    if (puzzle === null) return leave();
  }
}

function start() {
  const stop = new AbortController();
  // Another tab has got the pass, and it is good for this one too.
  others?.addEventListener("message", () => {
    stop.abort();
    leave();
  });
  if (self.origin === "null") return show("frame"); // a sandbox: what is answered from here counts for nobody
  try {
    if (!navigator.cookieEnabled) return show("cookies");
    if (tried.enough(true)) return show("loop");
  } catch {
    return show("cookies");
  }
  run(read(), stop.signal).catch(() => leaving || show("failed"));
}

again.addEventListener("click", () => {
  try {
    tried.clear();
  } catch {
    // cookies and storage are still refused; the page will say so again
  }
  if (then === "reload") location.reload();
  else start();
});

// Back to this page from where it led, out of the browser's cache: the form has gone, so it is not sent twice.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  if (then === "reload") location.reload();
  else show("resend");
});

start();

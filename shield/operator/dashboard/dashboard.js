// The dashboard. It reads /api/stream by fetch(), so that a token can go with it, and shows what comes. What clients
// have said of themselves is only ever set as text.
"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const KEPT = 900;            // seconds that the plots show
const LEAST = 120;           // seconds that they show at least
const MOST_TEXT = 8 << 20;   // characters of an event of the stream: more is no Shield's
const SILENCE = 6000;        // milliseconds without an event, after which the figures are called old
const HIDDEN = 30000;        // milliseconds for which a hidden tab goes on reading

// --- Figures as people read them

const whole = new Intl.NumberFormat("en-GB", {maximumFractionDigits: 0});
const tenth = new Intl.NumberFormat("en-GB", {maximumFractionDigits: 1});
const short = new Intl.NumberFormat("en-US", {notation: "compact", maximumFractionDigits: 1});
const figure = (n) => n == null ? "–" : Math.abs(n) < 10 ? tenth.format(n) : n < 100000 ? whole.format(n) : short.format(n);
const rate = (n) => n == null ? "–" : figure(n) + "/s";
const percent = (n) => n == null ? "–" : (n > 0 && n < 0.1 ? tenth : whole).format(100 * n) + " %";
const time = (s) => s == null ? "–" : s < 0.0995 ? tenth.format(1000 * s) + " ms" : s < 0.9995 ? whole.format(1000 * s) + " ms" : tenth.format(s) + " s";
const span = (s) => s < 60 ? `${Math.round(s)} s` : s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
const clock = (at, seconds = true) => new Date(1000 * at).toLocaleTimeString("en-GB", seconds ? {} : {hour: "2-digit", minute: "2-digit"});
const plural = (n, one, many = `${one}s`) => `${figure(n)} ${n === 1 ? one : many}`;

// --- Elements

function el(tag, more = {}, ...inner) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(more)) {
    if (name === "click") made.addEventListener("click", value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...inner.filter((each) => each !== "" && each != null));
  return made;
}

// Rows by their keys: a row that stays is filled anew and not replaced, so that a button keeps its focus.
function rows(list, items, key, fill, none) {
  const old = new Map([...list.children].map((row) => [row.dataset.key, row]));
  let at = list.firstElementChild;
  for (const item of items) {
    const name = String(key(item)), text = JSON.stringify(item);
    let row = old.get(name);
    old.delete(name);
    if (!row) row = el(list.tagName === "TBODY" ? "tr" : "li");
    if (row.dataset.text !== text) {
      const focused = row.contains(document.activeElement) ? [...row.querySelectorAll("button")].indexOf(document.activeElement) : -1;
      row.className = "";
      row.replaceChildren(...fill(item, row).filter((each) => each !== ""));
      row.dataset.key = name;
      row.dataset.text = text;
      if (focused >= 0) row.querySelectorAll("button")[focused]?.focus();
    }
    if (row === at) at = at.nextElementSibling;
    else list.insertBefore(row, at);
  }
  for (const row of old.values()) row.remove();
  if (!items.length && none) list.append(el("li", {className: "none"}, none));
}

let saidTimer = 0;
function say(text, ...more) {
  clearTimeout(saidTimer);
  $("said").replaceChildren(text, ...more);
  saidTimer = setTimeout(() => $("said").replaceChildren(), 10000);
}

// --- Asking

const token = {
  get: () => sessionStorage.getItem("shield-token") || "",
  set: (text) => text ? sessionStorage.setItem("shield-token", text) : sessionStorage.removeItem("shield-token"),
};

class Denied extends Error {}

async function ask(method, path, body, signal) {
  const headers = {};
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (body) headers["Content-Type"] = "application/json";
  const options = {method, headers, signal, body: body && JSON.stringify(body), cache: "no-store", credentials: "omit", redirect: "error"};
  const response = await fetch(path, options);
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({detail: `Shield answers ${response.status}`}));
  if (response.status === 401) { closeDoor(problem.detail); throw new Denied(problem.detail); }
  throw new Error(problem.detail || problem.title);
}
const get = async (path) => (await ask("GET", path)).json();

async function change(method, path, body, done) {
  try {
    await ask(method, path, body);
    await showRules();
    say(done);
    return "";
  } catch (error) {
    say(error.message);
    return error.message;
  }
}

// --- The door: a token is wanted

function closeDoor(why) {
  $("board").hidden = true;
  $("door").hidden = false;
  $("door-said").textContent = token.get() ? why : "";
  token.set("");
  mood("unknown", "Closed", "");
  $("token").focus();
}

$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set($("token").value.trim());
  $("token").value = "";
  $("door").hidden = true;
  mood("unknown", "Waiting for figures", "");
  connect();
});

// --- The stream

let reading = null;   // the AbortController of the stream that is open
let tries = 0;
let heard = 0;        // when the last event came; milliseconds
let lostAt = 0;
let ended = false;    // another window has taken the place of this one

async function connect() {
  reading?.abort();
  const mine = reading = new AbortController();
  ended = false;
  try {
    const response = await ask("GET", "api/stream", undefined, mine.signal);
    tries = 0;
    $("door").hidden = true;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const {value, done} = await reader.read();
      if (done) break;
      text += value;
      if (text.length > MOST_TEXT) throw new Error("too much");
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) take(text.slice(0, end));
    }
  } catch (error) {
    if (error instanceof Denied || mine.signal.aborted) return;
  }
  if (mine !== reading || ended) return;
  lost();
  setTimeout(() => { if (mine === reading) connect(); }, Math.min(500 * 2 ** tries++, 8000));
}

function take(event) {
  let name = "", data = "";
  for (const line of event.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (!data) return;
  const said = JSON.parse(data);
  heard = Date.now();
  if (name === "history") begin(said);
  else if (name === "now") show(said);
  else if (name === "closed") close(said.detail);
}

function close(why) {
  if (why.startsWith("Shield ends")) return;   // it may come again
  ended = true;
  mood("lost", "This window is not live any more", why);
  $("subline").append(" ", el("button", {type: "button", click: connect}, "Go on here"));
}

function lost() {
  if (document.body.dataset.mood !== "lost") lostAt = heard || Date.now();
  mood("lost", "No connection to Shield", `The figures are those of ${clock(lostAt / 1000)}. Trying again…`);
  $("link").textContent = "not connected";
}

setInterval(() => {
  if (heard && !ended && reading && !reading.signal.aborted && $("door").hidden && Date.now() - heard > SILENCE) {
    lost();
    if (Date.now() - heard > 2 * SILENCE) { heard = Date.now() - SILENCE; connect(); }
  }
}, 1000);

let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(() => { reading?.abort(); }, HIDDEN);
  else if (reading?.signal.aborted && !ended && $("door").hidden) connect();
});

// --- Plots

let columns = {};      // places in a row, by name
let kept = [];         // rows
const plots = {};
const ACTIONS = ["forward", "challenge", "limit", "shed", "ban"];
const WORDS = {forward: "let through", challenge: "challenged", limit: "limited", shed: "turned away", ban: "banned"};
const column = (name) => kept.map((row) => row[columns[name]]);
const last = (name) => kept.length ? kept.at(-1)[columns[name]] : null;

const PLOTS = {
  // Each is drawn over the one before: the first is the whole, the last what was let through.
  traffic: {
    data: () => ACTIONS.map((_, place) => kept.map((row) => {
      let sum = 0;
      for (const action of ACTIONS.slice(0, ACTIONS.length - place)) sum += row[columns[action]] || 0;
      return sum;
    })),
    lines: [...ACTIONS].reverse().map((action) => ({color: `--c-${action}`, fill: 1, width: 1})),
    unit: rate,
    legend: () => ACTIONS.map((action) => [`k-${action}`, WORDS[action], rate(last(action))]),
  },
  pressure: {
    data: () => [column("pressure"), kept.map((row) => row[columns.capacity] ? row[columns.demand] / row[columns.capacity] : null)],
    lines: [{color: "--c-ban", fill: 0.25, width: 2}, {color: "--c-blue", width: 1.5}],
    unit: percent, least: 1.1,
    legend: () => [
      ["k-ban", "pressure", percent(last("pressure"))],
      ["k-blue line", "demand, of what the service can do", percent(last("capacity") ? last("demand") / last("capacity") : null)],
    ],
  },
  latency: {
    data: () => ["new_p95", "bought_p95", "known_p95"].map(column),
    lines: [{color: "--c-grey", width: 1.5}, {color: "--c-challenge", width: 1.5}, {color: "--c-forward", width: 2.5}],
    unit: time, least: 0.1,
    legend: () => [
      ["k-forward line", "known clients", time(last("known_p95"))],
      ["k-challenge line", "with a bought pass, or amid a visit", time(last("bought_p95"))],
      ["k-grey line", "newcomers", time(last("new_p95"))],
    ],
  },
  slots: {
    data: () => ["in_flight", "limit_slots", "waiting"].map(column),
    lines: [{color: "--c-forward", fill: 0.3, width: 1.5}, {color: "--c-grey", width: 1.5, dash: [5, 4]}, {color: "--c-limit", width: 2}],
    unit: figure, least: 4,
    legend: () => [
      ["k-forward", "at the service", figure(last("in_flight"))],
      ["k-grey line", "limit", figure(last("limit_slots"))],
      ["k-limit line", "waiting", figure(last("waiting"))],
    ],
  },
};

function tone(name, part) {
  const color = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return part === undefined || part === 1 ? color : color + Math.round(255 * part).toString(16).padStart(2, "0");
}

function drawAll() {
  for (const [name, plot] of Object.entries(PLOTS)) {
    plots[name]?.destroy();
    const room = $(`plot-${name}`);
    const axis = {stroke: tone("--quiet"), grid: {stroke: tone("--line"), width: 1}, ticks: {show: false}, font: "12px system-ui, sans-serif"};
    plots[name] = new uPlot({
      width: Math.max(room.clientWidth, 100), height: room.clientHeight || 160,
      legend: {show: false}, cursor: {show: false}, padding: [8, 8, 0, 0],
      scales: {
        x: {time: true, range: (u, low, high) => [Math.min(low ?? 0, (high ?? 0) - LEAST), high ?? 0]},
        y: {range: (u, low, high) => [0, Math.max(1.08 * (high || 0), plot.least || 1)]},
      },
      axes: [
        {...axis, size: 26, gap: 4, space: 64, values: (u, ticks) => ticks.map((at) => clock(at, u.scales.x.max - u.scales.x.min < 300))},
        {...axis, size: 58, space: 34, values: (u, ticks) => ticks.map(plot.unit)},
      ],
      series: [{}, ...plot.lines.map((line) => ({
        stroke: tone(line.color), width: line.width, dash: line.dash, points: {show: false},
        fill: line.fill ? tone(line.color, line.fill) : undefined,
      }))],
    }, [column("time"), ...plot.data()], room);
  }
}

function redraw() {
  for (const [name, plot] of Object.entries(PLOTS)) {
    plots[name]?.setData([column("time"), ...plot.data()]);
    const parts = plot.legend();
    rows($(`legend-${name}`), parts, (part) => part[1], ([key, word, value]) => [
      el("span", {className: `key ${key}`}), `${word} `, el("b", {}, value),
    ]);
  }
}

function describe() {   // for whoever hears the page: not each second, as it would be read out
  for (const [name, plot] of Object.entries(PLOTS)) {
    const said = plot.legend().map(([, word, value]) => `${word} ${value}`).join(", ");
    $(`plot-${name}`).setAttribute("aria-label", `${$(`h-${name}`).textContent}, the last 15 minutes. Now: ${said}`);
  }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (kept.length) drawAll(); });
new ResizeObserver(() => {
  for (const name of Object.keys(plots)) {
    const room = $(`plot-${name}`);
    if (room.clientWidth) plots[name].setSize({width: room.clientWidth, height: room.clientHeight});
  }
}).observe($("plot-traffic"));

// --- What comes

function begin(history) {
  columns = Object.fromEntries(history.columns.map((name, place) => [name, place]));
  kept = history.rows;
  $("board").hidden = false;
  drawAll();
  redraw();
  describe();
  showRules();
}

let state = {};
let seconds = 0;
let events = [];
function show(now) {
  kept.push(now.row);
  if (kept.length > KEPT) kept.splice(0, kept.length - KEPT);
  state = now.state;
  const news = now.state.events;
  if (news) {
    if (events.length && news.some((event) => event.event.startsWith("rule_") && event.at > events[0].at)) showRules();
    events = news;
  }
  if (!$("board").hidden) {
    redraw();
    if (seconds++ % 10 === 0) describe();
    headline();
    panels(Boolean(news));
  }
  $("link").textContent = `live, ${clock(now.row[columns.time])}`;
}

function mood(name, head, sub) {
  document.body.dataset.mood = name;
  if ($("headline").textContent !== head) $("headline").textContent = head;   // a status: read out when it changes
  if ($("subline").textContent !== sub) $("subline").textContent = sub;
}

const FILLING = 0.25;   // of the queue: an onset takes seconds to be sure of, and this is seen at once
function headline() {
  const refused = ACTIONS.slice(1).reduce((sum, action) => sum + (last(action) || 0), 0);
  const all = refused + (last("forward") || 0);
  const share = all ? refused / all : 0;
  const known = last("known_p95");
  const users = known == null ? "" : `; known clients have their answer in ${time(known)}`;
  const dry = state.dry_run ? " Dry run: nothing is refused." : "";
  const doing = `${rate(last("forward"))} let through, ${rate(refused)} refused (${percent(share)})${users}.${dry}`;
  if (state.ready === false) mood("bad", "The service cannot be reached", doing);
  else if (state.attack) {
    const since = state.attack_seconds ? `For ${span(state.attack_seconds)}. ` : "";
    const where = state.sites.filter((site) => site.attack).map((site) => site.site);
    const named = where.length > 2 ? `${where.length} sites` : where.join(" and ");
    const act = (state.brownout ? "The service is ill" : "Under attack") + (named && ` (${named})`);
    mood(state.strictness > 0.05 ? "bad" : "warn", state.cause ? `${act}: ${state.cause}` : act, since + doing);
  } else if (state.brownout) mood("warn", "The service is ill, and not attacked", doing);
  else if (state.pressure > 0.05) mood("warn", "Pressure", doing);
  else if (state.waiting > FILLING * state.queue) mood("warn", "The queue fills", `${plural(state.waiting, "request")} of at most ${figure(state.queue)} wait. ${doing}`);
  else mood("calm", "Calm", doing);
  document.title = state.attack ? `● ${rate(refused)} refused – Shield` : "Shield";
  const bans = Object.values(state.active_bans || {}).reduce((sum, n) => sum + n, 0);
  const tiles = [
    ["Let through", rate(last("forward")), ""],
    ["Refused", rate(refused), percent(share)],
    ["Pressure", percent(state.pressure), state.strictness < state.pressure ? `acts as ${percent(state.strictness)}` : ""],
    ["Known clients wait", time(known), "95 of 100, at most"],
    ["At the service", figure(state.in_flight), `of ${figure(state.concurrency)}${state.long ? `, ${state.long} long` : ""}`],
    ["Waiting", figure(state.waiting), state.standing_queue ? "the queue stands" : ""],
    ["Bans in force", figure(bans), state.dropped ? `${plural(state.dropped, "address", "addresses")} dropped` : ""],
  ];
  rows2($("tiles"), tiles);
}

function rows2(list, tiles) {
  tiles.forEach(([name, value, more], place) => {
    let tile = list.children[place];
    if (!tile) list.append(tile = el("div", {}, el("dt", {}, name), el("dd", {}, el("div", {className: "value"}), el("div", {className: "more"}))));
    const [shown, under] = tile.lastElementChild.children;
    if (shown.textContent !== value) shown.textContent = value;
    if (under.textContent !== more) under.textContent = more;
  });
}

const MOODS = {
  attack_onset: "bad", attack_end: "calm", brownout: "warn", attack: "warn", upstream_down: "bad", upstream_up: "calm",
  upstream_ejected: "warn", reload_refused: "bad", worker_ended: "warn", worker_hangs: "bad", exception: "bad", out_of_files: "bad",
};
const row = (text, end, ...under) => [
  el("span", {className: "grow"}, text), end ? el("span", {className: "end"}, end) : "",
  ...under.filter(Boolean).map((each) => el("span", {className: "under"}, each)),
];
const button = (text, label, click) => el("button", {type: "button", className: "small", "aria-label": label, click}, text);
const meter = (value, name) => el("meter", {min: 0, max: 1, value: Math.min(value, 1), "aria-label": name});

function panels(news) {
  if (news) {
    rows($("events"), events, (event) => event.at + event.event + (event.address || ""), (event, line) => {
      line.className = MOODS[event.event] || "";
      const at = new Date(1000 * event.at);
      return [el("time", {dateTime: at.toISOString()}, clock(event.at)), el("span", {className: "grow"}, event.text)];
    }, "Nothing so far.");
    const now = Date.now() / 1000;
    const banned = new Map();
    for (const event of events) {
      if (event.event === "ban" && event.at + event.seconds > now) {
        const who = event.client || event.address;
        if (who && !banned.has(who)) banned.set(who, {...event, who, until: event.at + event.seconds});
      }
    }
    shieldsBans = [...banned.values()].filter((ban) => !pardoned.has(ban.who + ban.at)).slice(0, 12);
  }
  showBans();
  if (rules.some((rule) => rule.dry_run)) drawRules();
  causes();
  rows($("routes"), state.routes, (each) => each[0], ([name, n]) => row(el("code", {}, name), rate(n)), "Nothing is asked for.");
  rows($("reasons"), state.verdicts, (each) => each.action + each.reason, (each) => [
    el("span", {className: `key k-${each.action.replace("_dry_run", "")}`}),
    ...row(each.why, el("b", {}, rate(each.rate)), `${WORDS[each.action] || `would be ${WORDS[each.action.replace("_dry_run", "")]}`} · ${each.reason}`),
  ], "Nobody is refused.");
  rows($("tiers"), state.tiers, (each) => each.tier, (each) => [
    el("th", {scope: "row"}, TIERS[each.tier]), el("td", {}, rate(each.asked)), el("td", {}, rate(each.served)),
    el("td", {}, time(each.p50)), el("td", {}, time(each.p95)),
  ]);
  rows($("networks"), state.networks, (each) => each[0], ([network, n, where]) => [
    ...row(el("code", {}, network), percent(n / Math.max(state.strangers, 1)), where), button("Ban…", `Ban ${network}`, () => openBan(network)),
    el("span", {className: "under"}, meter(n / Math.max(state.strangers, 1), `Share of ${network}`)),
  ], "They are counted under pressure only.");
  rows($("programs"), state.stands_out, (each) => each.fingerprint, (each) =>
    row(each.user_agent || "(no User-Agent)", percent(each.share), `${each.armed ? "limited as one client" : "not limited"}; ${each.known}`), "None.");
  rows($("refused"), state.refused, (each) => each.address + each.client + each.reason, (each) => [
    el("span", {className: `key k-${each.action.replace("_dry_run", "")}`}),
    el("span", {className: "grow"}, el("code", {}, each.address), " ", each.known ? el("span", {className: "tag"}, "known") : ""),
    button("Why", `Ask why ${each.address} was refused`, () => openWhy(each.id || each.address)),
    button("Ban…", `Ban ${each.address}`, () => openBan(each.address)),
    el("span", {className: "under"}, `${each.why}${each.count > 1 ? ` (${each.count} times in the sample)` : ""}: ${each.method} ${each.path} · ${each.user_agent || "no User-Agent"}${each.where ? ` · ${each.where}` : ""}`),
  ], "Nobody was refused.");
  $("of-sites").hidden = !state.sites.length;
  rows($("sites"), state.sites, (each) => each.site, (each) => [
    el("span", {className: "grow"}, el("b", {}, each.site), " ",
      each.attack ? el("span", {className: "tag ban"}, `attack for ${span(each.attack_seconds)}, since ${clock(last("time") - each.attack_seconds)}`) : "", " ",
      each.ready ? "" : el("span", {className: "tag ban"}, "no server is healthy"), " ", each.dry_run ? el("span", {className: "tag"}, "dry run") : ""),
    el("span", {className: "end"}, "pressure ", el("b", {}, percent(each.pressure))),
    el("span", {className: "under"}, meter(each.pressure, `Pressure at ${each.site}`)),
    el("span", {className: "under"}, `${each.cause ? `${each.cause}; ` : ""}${rate(each.asked)} asked, ${figure(each.in_flight)} of ${figure(each.concurrency)} at the service, ${figure(each.waiting)} waiting, demand ${figure(each.demand)} of ${figure(each.capacity)} units/s`),
  ]);
  const market = state.market || {};
  pairs($("price"), [
    ["Price of a pass", market.price == null ? "–" : `${short.format(market.price)} hashes`],
    ["About, on a phone", market.price == null ? "–" : time(market.price / 4e6)],
    ["Solved", rate(market.solves_per_second)],
    ["Passes that can be issued", rate(market.passes_per_second)],
    ["Passes in use, of these bought", `${figure(state.passes.in_use)}, ${figure(state.passes.bought)}`],
    ["In the waiting room", figure(last("room"))],
    ["Taken for a crowd of people", market.flash_crowd ? "yes" : "no"],
  ]);
  rows($("challenged"), (state.challenged || []).slice(0, 8), (each) => each.tier + each.browser, (each) => [
    el("th", {scope: "row"}, `${BROWSERS[each.browser] || each.browser}, ${each.tier}`), el("td", {}, figure(each.asked)), el("td", {}, figure(each.let_in)),
    el("td", {}, time(each.p50)), el("td", {}, time(each.p95)), el("td", {}, figure(each.gave_up)),
  ]);
  rows($("servers"), state.servers, (each) => each.server, (each) => [
    ...row(el("code", {}, each.server), el("span", {className: each.healthy && !each.ejected ? "tag good" : "tag ban"}, !each.healthy ? "ill" : each.ejected ? "put aside" : "well"),
      `${plural(each.outstanding, "request")} there`),
  ], "None.");
  $("h-workers").hidden = !state.workers.length;
  rows($("workers"), state.workers, (each) => each.worker, (each) =>
    row(`Worker ${each.worker}`, el("span", {className: each.answers ? "tag good" : "tag ban"}, each.answers ? "answers" : "does not answer"),
      each.restarts ? `started again ${plural(each.restarts, "time")}` : ""));
  $("h-files").hidden = !state.files.length;
  rows($("files"), state.files, (each) => each.kind + each.name, (each) =>
    row(el("code", {}, each.name), el("span", {className: each.error ? "tag ban" : "tag good"}, each.error ? "not used as it is" : each.kind), each.text, each.error));
}

const BROWSERS = {chrome: "Chrome", edge: "Edge", firefox: "Firefox", opera: "Opera", safari: "Safari", samsung: "Samsung Internet", other: "other browsers", text: "text browsers", robot: "robots", program: "programs", none: "without a name"};
const TIERS = {T0: "T0 best known", T1: "T1 known", T2: "T2 paid, visiting", T3: "T3 newcomers", T4: "T4 misbehaved"};

function causes() {
  const part = state.capacity ? state.demand / state.capacity : 0;
  const shown = {
    latency: `typical answer ${time(state.median_rtt)}, ${figure(state.congestion)} times the usual`,
    errors: "502, 503, 504 and timeouts",
    shedding: "the queue turns requests away",
    waiting: `${plural(state.waiting, "request")} in the queue`,
    self: `event loop busy ${percent(state.busy)}, ${time(state.lag)} late`,
  };
  const held = rules.find((rule) => rule.kind === "pressure");
  const all = [
    {name: "Demand", on: part > 0.9, text: `${figure(state.demand)} of ${figure(state.capacity)} units/s that the service can do`, end: percent(part), part},
    ...Object.entries(state.signs).map(([sign, text]) => ({name: text[0].toUpperCase() + text.slice(1), on: state.overload.includes(sign), text: shown[sign]})),
    ...(held ? [{name: `Held by your rule at ${held.value}`, on: true, text: held.note || ""}] : []),
  ];
  rows($("causes"), all, (each) => each.name, (each) => [
    el("span", {className: each.on ? "mark on" : "mark"}), el("span", {className: "grow"}, each.name), el("span", {className: "end"}, el("b", {}, each.end || (each.on ? "yes" : "no"))),
    el("span", {className: "under"}, each.text),
  ]);
}

function pairs(list, all) {
  all.forEach(([name, value], place) => {
    if (!list.children[2 * place]) list.append(el("dt", {}, name), el("dd"));
    const shown = list.children[2 * place + 1];
    if (shown.textContent !== value) shown.textContent = value;
  });
}

// --- Bans and rules

let rules = [];
let shieldsBans = [];
const pardoned = new Set();

async function showRules() {
  try { rules = (await get("api/rules")).rules; } catch { return; }
  drawRules();
}

// Of an API key its budget, not its SHA-256.
const valueOf = (rule) => rule.kind === "key" ? rule.value.slice(0, -64).trim() : rule.value;

const VERBS = {limit: "limited", challenge: "challenged"};
function tried(rule) {
  const met = (state.rules_tried || {})[rule.number], verb = VERBS[rule.kind] || "refused";
  if (!met || !met.requests) return `tried: would have ${verb} nobody so far`;
  return `tried: would have ${verb} ${plural(met.requests, "request")} of ${plural(met.visitors, "visitor")}, ${figure(met.known)} of them known`;
}

function drawRules() {
  const shown = rules.map((rule) => rule.dry_run ? {...rule, tried: tried(rule)} : rule);
  rows($("rules"), shown, (rule) => rule.number, (rule) => [
    rule.dry_run ? el("span", {className: "tag"}, "dry run") : "",
    el("span", {className: `tag ${rule.kind === "ban" || rule.kind === "deny" ? "ban" : rule.kind === "allow" ? "good" : ""}`}, rule.kind.replace("_", " ")),
    el("span", {className: "grow"}, el("code", {}, [rule.subject, valueOf(rule)].filter(Boolean).join(" ") || "everybody")),
    button("Lift", `Lift the rule: ${rule.kind} ${rule.subject}`, () => change("DELETE", `api/rules?number=${rule.number}`, null, "Lifted.")),
    rule.dry_run ? el("span", {className: "under"}, rule.tried) : "",
    el("span", {className: "under"}, [rule.expires ? `until ${clock(rule.expires)}` : "until it is lifted", rule.author && `by ${rule.author}`, rule.note].filter(Boolean).join(" · ")),
  ], "None.");
}

function showBans() {
  const bans = Object.values(state.active_bans || {}).reduce((sum, n) => sum + n, 0);
  const now = Date.now() / 1000;
  shieldsBans = shieldsBans.filter((ban) => ban.until > now);
  $("ban-count").textContent = bans ? `(${figure(bans)} in force; the latest)` : "";
  rows($("bans"), shieldsBans, (ban) => ban.who + ban.at, (ban) => [
    el("span", {className: "grow"}, el("code", {}, ban.address || ban.who)),
    button("Unban", `Unban ${ban.who}`, () => unban(ban)),
    el("span", {className: "under"}, `until ${clock(ban.until)} · ${ban.text}`),
  ], bans ? "None of the latest: shield bans lists all." : "None.");
}

async function unban(ban) {
  const query = new URLSearchParams([["subject", ban.who], ["kind", "ban"], ["kind", "deny"], ["pardon", "1"]]);
  if (await change("DELETE", `api/rules?${query}`, null, `${ban.who} is not banned any more.`) === "") {
    pardoned.add(ban.who + ban.at);
    shieldsBans = shieldsBans.filter((each) => each !== ban);
    showBans();
  }
}

function openBan(subject) {
  $("ban-subject").value = subject;
  $("ban-said").textContent = "";
  $("ban").showModal();
  $(subject ? "ban-note" : "ban-subject").focus();
}

$("ban-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const subject = $("ban-subject").value.trim();
  const wish = {kind: "ban", subject, seconds: Number($("ban-seconds").value), note: $("ban-note").value.trim(), dry_run: $("ban-dry").checked};
  const wrong = await change("POST", "api/rules", wish, wish.dry_run ? `The ban of ${subject} is tried: your rules say whom it would refuse.` : `${subject} is banned.`);
  $("ban-said").textContent = wrong;
  if (!wrong) { $("ban").close(); $("ban-note").value = ""; $("ban-dry").checked = false; }
});
$("ban-open").addEventListener("click", () => openBan(""));
$("undo").addEventListener("click", () => change("POST", "api/undo", {note: "from the dashboard"}, "The last change is undone."));

// --- Why

function openWhy(subject) {
  $("why-subject").value = subject;
  $("why-said").replaceChildren();
  $("why").showModal();
  if (subject) askWhy();
}

async function askWhy() {
  const subject = $("why-subject").value.trim();
  const name = /^[0-9a-f]{8}-[0-9a-f]+$/i.test(subject) ? "request_id" : /^pass:|^[\w-]{42}$/.test(subject) ? "pass" : "address";
  try {
    const said = await get(`api/explain?${new URLSearchParams([[name, subject]])}`);
    $("why-said").replaceChildren(...said.subjects.slice(0, 10).flatMap((each) => [
      el("h3", {}, each.subject),
      el("ol", {}, ...each.questions.map((question) => el("li", {className: question.decides ? "decides" : ""},
        `${question.question} ${question.answer}`, question.change ? el("span", {className: "quiet"}, ` ${question.change}`) : ""))),
    ]));
    if (!said.subjects.length) $("why-said").textContent = "Nothing is known of it.";
  } catch (error) {
    $("why-said").textContent = error.message;
  }
  $("why-said").focus();
}

$("why-form").addEventListener("submit", (event) => { event.preventDefault(); askWhy(); });
$("why-open").addEventListener("click", () => openWhy(""));
for (const each of document.querySelectorAll("[data-close]")) each.addEventListener("click", () => each.closest("dialog").close());

connect();
})();

// The Label page: shows a case, takes a key, shows the next at once. The service has the last word on each of them.

import { CallError, caller, pause } from "./calls.js";
import { askFor, backToCase, findClass, lookAtAll, open, showKeys } from "./dialogs.js";
import { lasting, noteDue, tellDue } from "./due.js";
import { enableNumber, hintOf, onNumber, spoken, takesKey, unusual } from "./number.js";
import { Outbox } from "./outbox.js";

const AHEAD = 2; // cases held besides the one that is shown
const UNDONE = 10;
const RENEW_MS = 60_000;
const LOOK_AGAIN_MS = 3_000;
const LOOK_WHEN_STOPPED_MS = 10_000;
const RATED_MS = 20_000;
const SAID_MS = 8_000;
const ALIKE_TRIES = 6;
const GIVEN_BACK_MS = 2_000;

const page = document.getElementById("label");
const place = document.getElementById("case");
const main = document.getElementById("main");
const banner = document.getElementById("banner");
const live = document.getElementById("live");
const saidLine = document.getElementById("said");
const buttons = [...document.querySelectorAll("#answers button")];
const classes = [...document.querySelectorAll("#find-list [data-label]")].map((each) => each.dataset.label);
const call = caller(page.dataset.base, page.dataset.csrf);

const state = {
  shown: null, // {event_id, token, name, node}
  ahead: [],
  seeking: false, // cases like the one that is shown are being looked for
  alike: [], // held while the person looks at cases like the one that is shown
  past: [], // oldest first: {event_id, name, node, kind, label, text, annotation_id, others: how many went with it}
  looking: null, // an entry of `past`
  comment: "",
  typed: "",
  fetching: false,
  looked: false, // asked once, so that a page without a case says so at once and waits afterwards
  ended: false,
  answered: 0,
  began: Date.now(),
  progress: null,
};

// ---- what is shown

function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // the console's own, in which every text is escaped
  return template.content.firstElementChild;
}

function paint(node) {
  tellDue(node);
  place.replaceChildren(node);
  main.scrollTop = 0;
}

function showCase(task) {
  state.shown = task;
  state.comment = "";
  state.typed = "";
  if (state.looking !== null) return; // it is painted when the person comes back to it
  paint(task.node);
  hintOf(task.usual);
  enable();
  announce(`Case ${task.name}.`);
}

function showState(name, why = "") {
  state.shown = null;
  if (state.looking !== null && name !== "ended") return;
  state.looking = null;
  const node = document.getElementById(`state-${name}`).content.firstElementChild.cloneNode(true);
  const line = node.querySelector("[data-why]");
  if (line) line.textContent = why;
  const midnight = node.querySelector("[data-midnight]");
  if (midnight) midnight.textContent = untilMidnight();
  if (name === "away") showBanner(""); // the page says it
  paint(node);
  enable();
  announce(`${node.querySelector("h1").textContent}. ${why}`);
}

// When the day of UTC ends, by the pipeline's clock, and how long until then.
function untilMidnight() {
  const now = new Date();
  const next = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() + 1));
  const zone = page.dataset.zone;
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: zone }).format(next);
  const there = zone === "UTC" ? "" : `, which is ${clock} in ${zone.replaceAll("_", " ")}`;
  return `${there}, in ${lasting((next - now) / 1_000)}`;
}

function enable() {
  const can = state.looking !== null || state.shown !== null;
  enableNumber(can, state.looking !== null && state.looking.kind === "answer" ? state.looking.label : "");
  for (const button of buttons) {
    const does = button.dataset.do;
    if (does === "undo" || does === "help") continue;
    button.disabled = !can || (state.looking !== null && (does === "skip" || does === "escalate" || does === "bulk"));
    const chosen = state.looking !== null && button.dataset.label === state.looking.label && state.looking.kind === "answer";
    button.classList.toggle("chosen", chosen);
  }
}

let fading = 0;
function say(text, bad = false) {
  saidLine.textContent = text;
  saidLine.classList.toggle("bad", bad);
  clearTimeout(fading);
  fading = setTimeout(() => (saidLine.textContent = ""), bad ? 2 * SAID_MS : SAID_MS);
  announce(text);
}

let announced = [];
function announce(text) {
  announced.push(text);
  if (announced.length > 1) return;
  setTimeout(() => {
    live.textContent = announced.join(" ");
    announced = [];
  }, 50);
}

function showBanner(text, kind = "") {
  banner.hidden = text === "";
  banner.className = `banner ${kind}`;
  document.getElementById("ways").hidden = kind !== "back";
  const line = document.getElementById("banner-text");
  if (line.textContent !== text) line.textContent = text;
}

function figures() {
  const told = state.progress;
  const set = (id, text) => {
    const node = document.getElementById(id);
    if (node.textContent !== text) node.textContent = text;
  };
  const minutes = (Date.now() - state.began) / 60_000;
  set("rate", Date.now() - state.began < RATED_MS ? "–" : (state.answered / minutes).toFixed(1));
  if (told === null) return;
  const today = told.today.toLocaleString("en");
  set("today", told.quota > 0 ? `${today} of ${told.quota.toLocaleString("en")}` : today);
  set("median", told.median_ms > 0 ? `${(told.median_ms / 1_000).toFixed(1)} s` : "–");
  document.getElementById("agreed").hidden = told.agreement === "";
  set("agreement", told.agreement);
  set("waiting", told.waiting.toLocaleString("en"));
}

// ---- cases, fetched ahead

async function fetchMore() {
  if (state.fetching || state.ended) return;
  state.fetching = true;
  let away = null;
  try {
    while (!state.ended) {
      const missing = AHEAD + (state.shown === null ? 1 : 0) - state.ahead.length;
      if (missing <= 0) break;
      const alone = state.shown === null;
      let told;
      try {
        told = await call("label/next", { count: missing, wait: alone && state.looked ? 8 : 0 });
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        if (error.ended) return end();
        if (!error.away) {
          if (state.shown === null) showState("stopped", error.message);
          else say(error.message, true);
          await pause(LOOK_WHEN_STOPPED_MS);
          continue;
        }
        if (state.shown === null && away === null) showState("away", unsent());
        away ??= Date.now();
        await pause(1_000);
        continue;
      }
      away = null;
      state.looked = true;
      state.progress = told.progress ?? state.progress;
      for (const task of told.cases) {
        const { event_id, token, name, html, usual } = task;
        const node = fragment(html);
        noteDue(node);
        state.ahead.push({ event_id, token, name, node, usual });
      }
      figures();
      if (state.shown === null && state.ahead.length > 0) {
        showCase(state.ahead.shift());
        continue;
      }
      if (told.cases.length === 0) {
        if (state.shown === null) showState(told.state || "waiting", told.why);
        if (!alone || told.state) await pause(told.state ? LOOK_WHEN_STOPPED_MS : LOOK_AGAIN_MS);
      }
    }
  } finally {
    state.fetching = false;
  }
}

function showNext() {
  const task = state.ahead.shift();
  if (task) showCase(task);
  else showState(outbox.running && awaySince !== null ? "away" : "waiting", awaySince === null ? "" : unsent());
  fetchMore();
}

async function renew() {
  const held = [state.shown, ...state.ahead, ...state.alike].filter((task) => task !== null);
  if (held.length === 0 || state.ended) return;
  let lost;
  try {
    ({ lost } = await call("label/renew", { leases: held.map(({ event_id, token }) => ({ event_id, token })) }));
  } catch (error) {
    if (error instanceof CallError && error.ended) end();
    return; // away: the leases may last until it is back; what is answered tells
  }
  state.ahead = state.ahead.filter((task) => !lost.includes(task.event_id));
  state.alike = state.alike.filter((task) => !lost.includes(task.event_id));
  if (state.shown !== null && lost.includes(state.shown.event_id)) {
    say(`${state.shown.name} is no longer yours: it was given to somebody else, or closed.`, true);
    showNext();
  } else {
    fetchMore();
  }
}

// ---- decisions

let awaySince = null;

// While the service is away: how much is kept, on the page that says so or above the case.
function tellAway() {
  if (awaySince === null || state.looking !== null) return;
  const line = state.shown === null ? place.querySelector("[data-away]") : null;
  if (line === null) showBanner(`The service is away. ${unsent()}`);
  else if (line.textContent !== unsent()) line.textContent = unsent();
}

function unsent() {
  const n = outbox.size;
  return n === 0 ? "" : `${n === 1 ? "Your last answer is" : `Your last ${n} answers are`} kept here and sent when it is back.`;
}

const outbox = new Outbox(call, `${page.dataset.base}:${page.dataset.who}`, {
  delivered(item, answer) {
    const entry = state.past.find((each) => each.id === item.id);
    if (entry) entry.annotation_id = answer.annotation_id;
    const others = item.others?.length ?? 0;
    const refused = answer.refused ?? 0;
    if (entry) entry.others = Math.max(others - refused, 0);
    if (entry && state.looking === entry) reveal(entry); // looked back at while it was under way
    if (state.progress !== null && item.kind === "answer") state.progress.today += 1 + others - refused;
    if (refused > 0) say(`${item.name}: ${refused} of ${others + 1} were not taken: they were given to others meanwhile, or closed.`, true);
    figures();
  },
  refused(item, error) {
    state.past = state.past.filter((each) => each.id !== item.id);
    if (item.kind === "answer") state.answered -= 1 + (item.others?.length ?? 0);
    say(`${item.name}: not taken. ${error.message}`, true);
  },
  changed(item, change, told) {
    const entry = state.past.find((each) => each.id === item.id) ?? { id: item.id, name: item.name, kind: item.kind, others: 0 };
    amended(entry, change.label, told);
    if (state.looking === entry && change.label === null) lookAhead();
  },
  unchanged(item, error) {
    say(`${item.name}: not changed. ${error.message}`, true);
  },
  away(since) {
    awaySince = since;
    tellAway();
  },
  back() {
    awaySince = null;
    if (state.looking === null) showBanner("");
    say(outbox.size > 1 ? "The service is back: your answers are on their way." : "The service is back: everything is sent.");
    fetchMore();
  },
  ended: () => end(),
});

function end() {
  if (state.ended) return;
  state.ended = true;
  state.ahead = [];
  const kept = outbox.size === 0 ? "What you have answered is kept." : "Your last answers are sent when you have signed in again.";
  showBanner("");
  showState("ended", kept);
}

function newId() {
  return crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`;
}

function decide(kind, label, text, others = []) {
  const task = state.shown;
  if (task === null) return say(`${place.querySelector("h1").textContent}.`); // why there is none stands there
  const { event_id, token, name, node } = task;
  const id = newId();
  if (kind === "answer") state.answered += 1 + others.length;
  if (kind === "answer" || kind === "skip") {
    state.past.push({ id, event_id, name, node, kind, label, text, annotation_id: null, others: others.length });
    while (state.past.length > UNDONE) state.past.shift();
  }
  const together = others.length === 0 ? spoken(label) : `${spoken(label)}, with ${others.length} like it`;
  const did = { answer: together, skip: "skipped", escalate: "escalated to the reviewers", release: "given back" }[kind];
  showNext();
  const odd = kind === "answer" && unusual(label, task.usual) ? `, where ${task.usual.text} is usual` : "";
  say(`${name}: ${did}${odd}${kind === "answer" || kind === "skip" ? "  (z undoes it)" : ""}`);
  figures();
  outbox.add({ id, event_id, token, name, kind, label, text, others, bulk: others.length > 0 ? id : "" });
  tellAway();
}

function answer(label) {
  if (state.looking !== null) return amend(label);
  decide("answer", label, state.comment);
}

// ---- looking back

function lookBack() {
  const at = state.looking === null ? state.past.length : state.past.indexOf(state.looking);
  if (at <= 0) return say(state.past.length === 0 ? "There is nothing to undo." : `Nothing further back: the last ${UNDONE} can be undone.`);
  state.looking = state.past[at - 1];
  paint(state.looking.node);
  const others = state.looking.others ?? 0;
  const with_ = others > 0 ? `, with ${others} like it` : "";
  const was = state.looking.kind === "skip" ? "skipped" : `answered ${spoken(state.looking.label)}${with_}`;
  showBanner(`You ${was}. Another answer corrects ${others > 0 ? "them all" : "it"}.`, "back");
  enable();
  announce(`Looking back at ${state.looking.name}, which you ${was}.`);
  reveal(state.looking);
}

// What the model thinks was hidden until the answer: now that it is given, it may be seen.
async function reveal(entry) {
  const place = entry.node.querySelector("[data-blind]");
  if (place === null || entry.annotation_id === null || entry.kind !== "answer") return;
  try {
    const { html } = await call("label/opinion", { event_id: entry.event_id });
    if (html !== "") place.replaceWith(fragment(html));
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    if (error.ended) end();
  }
}

function lookAhead() {
  if (state.looking === null) return;
  state.looking = null;
  showBanner("");
  tellAway();
  if (state.shown !== null) {
    paint(state.shown.node);
    enable();
    announce(`Case ${state.shown.name}.`);
  } else {
    showNext();
  }
}

function amend(label) {
  const entry = state.looking;
  const change = { label, text: entry.text ?? "", bulk: (entry.others ?? 0) > 0 };
  const behind = outbox.amend(entry, change);
  lookAhead();
  const what = label === null ? "taken back" : `corrected to ${spoken(label)}`;
  if (behind) say(`${entry.name}: ${what} as soon as the answer has arrived.`);
}

// What the service has taken: label null took it back.
function amended(entry, label, told) {
  const others = entry.others ?? 0;
  const withOthers = others > 0 ? `, with ${others} like it` : "";
  entry.annotation_id = told.annotation_id;
  if (entry.kind === "answer") state.answered -= 1 + others;
  if (label === null) {
    state.past = state.past.filter((each) => each !== entry);
    say(`${entry.name}: taken back${withOthers}`);
  } else {
    entry.kind = "answer";
    entry.label = label;
    state.answered += 1 + others;
    say(`${entry.name}: corrected to ${spoken(label)}${withOthers}`);
  }
  if (told.refused > 0) say(`${entry.name}: ${told.refused} of ${others + 1} were left as they are: they were corrected by themselves, or are asked again.`, true);
  figures();
}

// ---- what the buttons and keys do

const does = {
  async skip() {
    if (state.shown === null || state.looking !== null) return;
    const task = state.shown;
    const text = await askFor({ title: "Skip this case", words: "Nobody is asked about it again. Why can't it be answered?", yes: "Skip", before: state.comment });
    if (text !== null && state.shown === task) decide("skip", "", text);
  },
  async comment() {
    if (state.shown === null && state.looking === null) return;
    const entry = state.looking;
    const text = await askFor({ title: "Comment", words: "It goes with your answer.", yes: "Keep", before: entry === null ? state.comment : (entry.text ?? "") });
    if (text === null) return;
    if (entry === null) state.comment = text;
    else entry.text = text;
    say(text === "" ? "No comment goes with your answer." : "Your comment goes with your answer.");
  },
  async tell() {
    const task = state.looking ?? state.shown;
    if (task === null) return;
    const text = await askFor({ title: "Tell others", words: "Whoever is given this case reads it.", yes: "Tell", required: true });
    if (text === null) return;
    const key = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`;
    try {
      await call("label/comment", { event_id: task.event_id, text, key });
      say("Told.");
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (error.ended) return end();
      say(error.away ? "The service is away: your remark was not taken. Try again in a moment." : `Not taken. ${error.message}`, true);
    }
  },
  async escalate() {
    if (state.shown === null || state.looking !== null) return;
    const task = state.shown;
    const text = await askFor({ title: "Escalate to the reviewers", words: "What makes it hard?", yes: "Escalate", required: true, before: state.comment });
    if (text !== null && state.shown === task) decide("escalate", "", text);
  },
  async bulk() {
    if (state.shown === null || state.looking !== null || state.seeking || state.alike.length > 0) return;
    const task = state.shown;
    state.seeking = true;
    say("Looking for cases like it…");
    const told = await alikeTo(task).finally(() => (state.seeking = false));
    if (told === null) return;
    if (told.cases.length === 0) return say("No case that waits is much like this one.");
    state.alike = told.cases;
    const choice = state.shown === task && !open() ? await lookAtAll(fragment(told.html)) : null;
    const held = state.alike;
    state.alike = [];
    const chosen = choice !== null && state.shown === task ? choice.taken.map((number) => told.cases[number]) : [];
    const taken = held.filter((each) => chosen.some((other) => other.event_id === each.event_id));
    giveBack(held.filter((each) => !taken.includes(each)));
    if (choice !== null && state.shown === task) decide("answer", choice.label, state.comment, taken.map(({ event_id, token }) => ({ event_id, token })));
  },
  release() {
    if (state.shown !== null && state.looking === null) decide("release", "", "");
  },
  undo: lookBack,
  find: () => findClass(answer),
  help: showKeys,
};

// The first search after the service has started takes some seconds, so one that is not answered in time is repeated.
async function alikeTo(task) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await call("label/alike", { event_id: task.event_id });
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (error.ended) end();
      else if (error.away && tries < ALIKE_TRIES && state.shown === task) {
        await pause(1_000);
        continue;
      } else say(error.away ? "The service is away: try again in a moment." : `Not now. ${error.message}`, true);
      return null;
    }
  }
}

function giveBack(tasks) {
  if (tasks.length === 0) return;
  const leases = tasks.map(({ event_id, token }) => ({ event_id, token }));
  call("label/release", { leases }).catch(() => {}); // else their leases run out
}

const KEYS = { b: "bulk", s: "skip", c: "comment", "+": "tell", "!": "escalate", u: "release", z: "undo", "?": "help", "/": "find" };

function digit(key) {
  const width = String(classes.length).length;
  state.typed += key;
  const number = Number(state.typed);
  if (state.typed.length < width && number <= classes.length) return say(`${state.typed}…`);
  state.typed = "";
  if (number >= 1 && number <= classes.length) answer(classes[number - 1]);
  else say(`There is no class ${number}.`, true);
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.repeat || event.ctrlKey || event.metaKey || event.altKey || open()) return;
  if (takesKey(event)) return;
  if (/^[0-9]$/.test(event.key) && classes.length > 0) {
    event.preventDefault();
    return digit(event.key);
  }
  if (event.key === "Enter" && state.typed !== "") {
    event.preventDefault();
    const number = Number(state.typed);
    state.typed = "";
    return number >= 1 && number <= classes.length ? answer(classes[number - 1]) : undefined;
  }
  if (event.key === "Escape") {
    state.typed = "";
    return lookAhead();
  }
  if (event.key === "Backspace" && state.looking !== null) {
    event.preventDefault();
    return amend(null);
  }
  const name = KEYS[event.key];
  if (name !== undefined) {
    event.preventDefault();
    does[name]();
  }
});

onNumber((label) => {
  answer(label);
  backToCase();
}, say);
for (const button of buttons.filter((each) => each.id !== "number-send")) {
  button.addEventListener("click", () => {
    if (button.dataset.label !== undefined) answer(button.dataset.label);
    else does[button.dataset.do]();
    if (!open()) backToCase();
  });
}

// Buttons of the window of keys: for whoever has none. It has closed by then.
for (const button of document.querySelectorAll("#help [data-do]")) {
  button.addEventListener("click", () => {
    document.getElementById("help").close();
    does[button.dataset.do]();
  });
}

for (const way of document.querySelectorAll("[data-way]")) {
  way.addEventListener("click", () => {
    if (way.dataset.way === "leave") lookAhead();
    else if (state.looking !== null) amend(null);
    if (!open()) backToCase();
  });
}

window.addEventListener("beforeunload", (event) => {
  if (outbox.size > 0 && !state.ended) event.preventDefault();
});
window.addEventListener("pagehide", () => {
  const held = [state.shown, ...state.ahead, ...state.alike].filter((task) => task !== null);
  if (held.length === 0) return;
  const leases = held.map(({ event_id, token }) => ({ event_id, token }));
  keepLeases(leases); // the page that is loaded anew gives them back, if this call does not arrive
  call("label/release", { leases, again: true }, { keepalive: true }).catch(() => {});
});

// Not for as long as the page is there: a copy of the tab would give back what the other one shows.
const LEFT = `tidemark-left:${page.dataset.base}:${page.dataset.who}`;

function keepLeases(leases) {
  try {
    sessionStorage.setItem(LEFT, JSON.stringify(leases));
  } catch {
    // storage is full or switched off: their leases run out
  }
}

async function takeUpAgain() {
  let leases = [];
  try {
    leases = JSON.parse(sessionStorage.getItem(LEFT) ?? "[]");
    sessionStorage.removeItem(LEFT);
  } catch {
    // as above
  }
  if (!Array.isArray(leases) || leases.length === 0) return;
  await call("label/release", { leases, again: true }).catch(() => {}); // as the page would have done
}

backToCase();
setInterval(renew, RENEW_MS);
setInterval(figures, 5_000);
setInterval(() => tellDue(place), 5_000);
outbox.deliver();
Promise.race([takeUpAgain(), pause(GIVEN_BACK_MS)]).then(fetchMore);

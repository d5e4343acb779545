// The page: which view is shown, how it stays fresh, and what happens without a server or a token.

import { get, now, Problem, query, token } from "./api.js";
import changes, { keep } from "./changes.js";
import { code, h, morphChildren } from "./dom.js";
import { clock, tick } from "./format.js";
import overview from "./overview.js";
import signal from "./signal.js";
import signals from "./signals.js";
import { list, user, why } from "./users.js";

const ROUTES = [
  [/^\/$/, overview], [/^\/signals$/, signals], [/^\/signals\/(?<id>[^/]+)$/, signal], [/^\/users$/, list],
  [/^\/users\/(?<id>[^/]+)$/, user], [/^\/users\/(?<id>[^/]+)\/missions\/(?<of>[^/]+)$/, why], [/^\/changes$/, changes],
];
const NOWHERE = { title: () => "No such view", load: async () => null, render: () => "This address leads nowhere." };
/** When a view is read again without a change. */
const EVERY_MS = 30_000;
/** Between two readings, and between two attempts to reach the server. */
const PAUSE_MS = 1_000;

const [title, place, state, banner, forget] = ["title", "view", "state", "banner", "forget"].map((id) => document.getElementById(id));
let shown, loading, readAt, timer, follower, poll;

/** The view that the address names, with its parameters. */
function route() {
  const [address, parameters] = location.hash.replace(/^#/, "").split("?");
  for (const [pattern, view] of ROUTES) {
    const match = pattern.exec(address || "/");
    if (match) {
      const ids = Object.entries(match.groups ?? {}).map(([name, id]) => [name, decode(id)]);
      return { view, parameters: { ...Object.fromEntries(new URLSearchParams(parameters)), ...Object.fromEntries(ids) } };
    }
  }
  return { view: NOWHERE, parameters: {} };
}

function decode(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

function show(heading, content) {
  morphChildren(title, h("h1", null, heading));
  document.title = `${title.textContent} – overlaid`;
  morphChildren(place, h("div", null, content));
  place.ariaBusy = "false";
}

function say(kind, text) {
  state.className = `state ${kind}`;
  if (state.textContent !== text) state.textContent = text;
}

async function open() {
  const before = shown;
  shown = route();
  for (const link of document.querySelectorAll(".side nav a[href^=\"#\"]")) {
    const at = link.hash.slice(1), here = location.hash.slice(1).split("?")[0] || "/";
    link.ariaCurrent = at === here || here.startsWith(`${at}/`) ? "page" : null;
  }
  const { view, parameters } = shown;
  // Who goes back is where they were; the next page of a list begins at its top.
  const { y } = history.state ?? {};
  const list = document.activeElement.closest(".pager")?.parentElement;
  place.ariaBusy = "true";
  if (before?.view !== view || before?.parameters.id !== parameters.id) {
    title.replaceChildren(view.title(parameters));
    place.replaceChildren(h("div", { class: "skeleton" }, h("p", { class: "empty" }, "Loading…"), h("div"), h("div"), h("div")));
    scrollTo(0, 0);
    // A reader of the screen hears where it is now.
    if (before) title.focus({ preventScroll: true });
  }
  if (await refresh()) y ? scrollTo(0, y) : list?.scrollIntoView();
}

async function refresh() {
  loading?.abort();
  clearTimeout(timer);
  const { view, parameters } = shown, mine = (loading = new AbortController());
  let wait = view.every ?? EVERY_MS;
  try {
    const data = await view.load(parameters, mine.signal);
    if (mine.signal.aborted) return;
    readAt = now();
    reached();
    show(view.title(parameters, data), view.render(data, parameters));
  } catch (error) {
    if (mine.signal.aborted) return;
    wait = fail(error);
  }
  timer = setTimeout(() => (document.hidden ? null : refresh()), wait);
  return true;
}

/** The server answers and lets this token in. */
function reached() {
  banner.hidden = true;
  forget.hidden = !token.get();
  say("good", "Live");
  follower ??= follow();
}

/** Shows why there is nothing to show; returns after how long to try again. */
function fail(error) {
  if (!(error instanceof Problem)) {
    console.error(error);
    show("This page failed", h("p", { class: "verdict bad" }, `Reload it: the server may be newer. ${error}`));
    return EVERY_MS;
  }
  if (error.status === 0) {
    lost();
    return PAUSE_MS;
  }
  if (error.status === 401) {
    askForToken(error);
    return 2 ** 31 - 1;
  }
  reached();
  show(shown.view.title(shown.parameters), h("p", { class: "verdict bad", role: "alert" }, error.advice()));
  return EVERY_MS;
}

function lost() {
  say("bad", "No answer");
  banner.hidden = false;
  morphChildren(banner, h("p", null, "The server does not answer. ", readAt && ["This is what it said at ", clock(readAt), ". "],
    "The page goes on by itself when the server is back."));
}

function askForToken(problem) {
  say("warn", "Token needed");
  forget.hidden = true;
  banner.hidden = true;
  const wrong = token.get() && `${problem.advice()} Enter another one.`;
  token.forget();
  const enter = (event) => {
    event.preventDefault();
    const text = event.target.elements.token.value.trim();
    if (!text) return;
    token.set(text);
    open();
  };
  show("Token", h("form", { class: "block token", onsubmit: enter },
    h("p", null, "This server asks for a token. It is kept for this tab only."),
    h("label", { for: "token" }, "Token"),
    h("input", { id: "token", name: "token", type: "password", autocomplete: "off", required: true }),
    wrong && h("p", { class: "verdict bad", role: "alert" }, wrong),
    h("button", { class: "primary" }, "Open"),
    h("p", { class: "note" }, code("The operator makes one with `overlaid token create --scope read --name page`."))));
  document.getElementById("token").focus();
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks for changes for as long as the page is open, and reads the view again when it rests on one. */
async function follow() {
  let since, wait;
  for (;;) {
    // A browser has six connections for all tabs: hidden ones take none.
    if (document.hidden) await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
    const mine = (poll = new AbortController());
    try {
      const answer = await get(`/v1/changes${query({ since, wait })}`, mine.signal);
      if (!banner.hidden) refresh();
      since = answer.cursor;
      wait = 30;
      keep(answer.changes);
      if (answer.reset || answer.changes.some((change) => shown.view.touches?.(change, shown.parameters))) {
        const began = performance.now();
        await refresh();
        // What takes the server long is read less often.
        await pause(Math.max(PAUSE_MS, 10 * (performance.now() - began)));
      }
    } catch (error) {
      if (mine.signal.aborted) continue;
      if (error.status !== 0) {
        // Another token may see them.
        follower = undefined;
        if (error.status === 401) refresh();
        return;
      }
      lost();
      // A server that is back answers at once.
      wait = undefined;
      await pause(PAUSE_MS);
    }
  }
}

forget.onclick = () => {
  token.forget();
  open();
};
document.querySelector(".skip").onclick = (event) => {
  event.preventDefault();
  title.focus();
};
addEventListener("hashchange", open);
addEventListener("scrollend", () => history.replaceState({ y: scrollY }, ""));
document.addEventListener("visibilitychange", () => (document.hidden ? poll?.abort() : refresh()));
setInterval(() => !document.hidden && tick(now()) && banner.hidden && refresh(), PAUSE_MS);
open();

// Signals: active ones first with the time that is left, filtered by symbol and status.

import { get, getAll, now, path, query } from "./api.js";
import { chip, h, pager, search, section, table } from "./dom.js";
import { countdown, decimals, number, time } from "./format.js";

const ROWS = 50;
const STATUSES = ["active", "expired", "cancelled", "closed"];

/** A signal's status, as the server decides it. */
export function statusOf(signal, moment) {
  if (signal.status === "cancelled" || signal.status === "closed") return signal.status;
  return Date.parse(signal.expires_at) <= moment ? "expired" : "active";
}

const KINDS = { active: "good", fired: "accent", failed: "bad", cancelled: "bad" };
export const statusChip = (status) => chip(status, KINDS[status]);
export const direction = (word) => h("span", { class: `direction ${word === "SELL" ? "sell" : "buy"}` }, word);

/** The time that is left of an active signal, else when it expired. */
export const timeLeft = (signal, moment) =>
  statusOf(signal, moment) === "active" ? countdown(signal.expires_at, moment) : time(signal.expires_at);

/** The columns of a table of signals; `end` is what the time is. */
export const columns = (end) => [
  ["Symbol", "name"], ["", ""], [end, "number"], ["Entry", "number"], ["Stop", "number"], ["Target", "number"], ["Confidence", "number wide"],
  ["Pattern", "wide clip"], ["Status", ""],
];

const pips = (count) => (count == null ? "–" : `${number(count)} pips`);


/** A row of a table of signals; its prices have alike many decimals. */
export function row(signal, moment) {
  const { entry_price: entry, stop_loss: stop, take_profits: [first, ...more] = [signal.take_profit] } = signal;
  const goal = first?.price ?? (typeof first === "object" ? null : first);
  const places = decimals(entry, stop, goal);
  return { key: signal.signal_id, cells: [
    h("a", { href: path`#/signals/${signal.signal_id}`, title: signal.signal_id }, signal.symbol),
    direction(signal.direction),
    timeLeft(signal, moment),
    entry == null ? "market" : number(entry, places),
    stop == null ? pips(signal.stop_pips) : number(stop, places),
    [goal == null ? pips(first?.pips ?? signal.target_pips) : number(goal, places), more.length > 0 && ` +${more.length}`],
    number(signal.confidence, 1),
    signal.pattern_type ?? "–",
    statusChip(statusOf(signal, moment)),
  ] };
}

function filters({ status, symbol }) {
  const go = (text, { status: chosen }) => { location.hash = `#/signals${query({ status: chosen.value, symbol: text })}`; };
  const option = (value, text) => h("option", { value, selected: (status ?? "") === value }, text);
  const select = h("select", { name: "status", "data-value": status ?? "", onchange: (event) => event.target.form.requestSubmit() },
    option("", "any, active first"), STATUSES.map((each) => option(each, each)));
  return search("Symbol", symbol, "EURUSD", "Filter", go, h("label", null, "Status", select));
}

export default {
  title: () => "Signals",
  touches: ({ kind }) => kind === "signal",
  async load({ status, symbol, cursor }, signal) {
    if (status || cursor) return { rest: await get(`/v1/signals${query({ status, symbol, cursor, limit: ROWS })}`, signal) };
    const answers = await getAll({
      active: `/v1/signals${query({ status: "active", symbol, limit: ROWS })}`, rest: `/v1/signals${query({ symbol, limit: ROWS })}`,
    }, signal);
    const problem = Object.values(answers).find((answer) => answer instanceof Error);
    if (problem) throw problem;
    return answers;
  },
  render({ active, rest }, { status, symbol, cursor }) {
    const moment = now();
    const more = (page, members) => pager(page, (next) => `#/signals${query({ symbol, ...members, cursor: next })}`);
    const others = active ? rest.signals.filter((each) => statusOf(each, moment) !== "active") : rest.signals;
    return [
      filters({ status, symbol }),
      active && section("Active, soonest to expire first",
        table("Active signals", columns("Time left"), active.signals.map((each) => row(each, moment)), "No signal is active."), more(active, { status: "active" })),
      section(status ? `${status[0].toUpperCase()}${status.slice(1)}` : cursor ? "Newest first" : "Others, newest first",
        table("Signals", columns(status === "active" ? "Time left" : "Expiry"), others.map((each) => row(each, moment)), `No ${status ?? "other"} signal${symbol ? ` of ${symbol}` : ""}.`), more(rest, { status })),
    ];
  },
};

// The server at a glance: how it is, what it does, what it holds, what to look at, and the active signals.

import { getAll, now, Problem } from "./api.js";
import { chip, facts, h, section, table } from "./dom.js";
import { chart } from "./draw.js";
import { bytes, duration, latency, number, percent, time } from "./format.js";
import { columns, row } from "./signals.js";

const SIGNALS = 10;

const WRITES = {
  "storage-full": "the disk is full. Free space on it.",
  "storage-failed": "the disk fails. Look at the server's log; writes go on by themselves once it works.",
  "file-replaced": "the database file was moved or replaced. Stop the server and put the right file in its place.",
};

/** How the server is, in one line. */
function state(ready) {
  const warnings = [
    ready.disk_low && "the disk will be full soon",
    ready.backup?.failing && "the last backup failed",
    ready.rates_old > 0 && `${number(ready.rates_old)} rates were not pushed for long`,
    ready.balances_old > 0 && `${number(ready.balances_old)} balances were not pushed for long`,
  ].filter(Boolean);
  const [kind, text] = ready.status !== "ok"
    ? ["bad", ["Degraded: reads are served, writes are refused, as ", WRITES[ready.writes] ?? `${ready.writes}.`]]
    : warnings.length > 0
      ? ["warn", ["Serving reads and writes; but ", warnings.join(", "), "."]]
      : ["good", ["Serving reads and writes."]];
  return h("p", { class: `verdict ${kind}`, id: "verdict" }, text);
}

/** What an answer shows, or why there is none. */
export const or = (answer, show) => (answer instanceof Problem ? h("p", { class: "empty" }, answer.advice()) : show(answer));

function charts({ recent }) {
  // The last slot is still being filled.
  const slots = recent.slots.length > 1 ? recent.slots.slice(0, -1) : recent.slots;
  const rate = (name) => slots.map((slot) => slot[name] / recent.slot_s);
  const share = (part, whole) => slots.map((slot) => (whole(slot) > 0 ? part(slot) / whole(slot) : 0));
  const last = (line) => line.at(-1) ?? 0;
  const { total } = recent;
  const requests = rate("requests"), writes = rate("writes");
  const held = share((slot) => slot.not_modified, (slot) => slot.requests);
  const asked = (slot) => slot.cache_hits + slot.cache_misses;
  const hits = share((slot) => slot.cache_hits, asked);
  const p99 = slots.map((slot) => slot.p99_us), p50 = slots.map((slot) => slot.p50_us);
  const per = (value) => `${number(value, 0, value < 10 ? 1 : 0)}/s`;
  return h("div", { class: "charts" },
    chart("Requests", per(last(requests)), `${number(total.requests)} in 15 min`, requests),
    chart("Latency", latency(last(p50)), `99 % within ${latency(last(p99))}`, p99, p50),
    chart("Not modified", percent(last(held)), `${percent(total.requests > 0 ? total.not_modified / total.requests : 0)} in 15 min`, held),
    chart("Writes", per(last(writes)), `${number(total.writes)} in 15 min`, writes),
    chart("Cache hits", percent(last(hits)), asked(total) > 0 ? `${percent(total.cache_hits / asked(total))} in 15 min` : "nothing asked for", hits));
}

const holds = ({ records, memory, file, uptime_s, version }) => facts([
  ["Users", number(records.overlays)],
  ["Signals", number(records.signals)],
  ["Outcomes", number(records.outcomes)],
  ["Rates", number(records.rates)],
  ["File", bytes(file.bytes)],
  ["Free on the disk", bytes(file.disk_free_bytes)],
  ["Overlays in memory", bytes(memory.roster_bytes)],
  ["Running for", duration(uptime_s)],
  ["Version", version],
]);

const saves = ({ saves: { table: rows } }) => table("One database instead of a file for each user and signal",
  [["", "name"], ["As files", "number"], ["One database", "number"], ["Ratio", "number"]],
  rows.map((each) => ({ key: each.name, cells: [
    h("span", { class: each.name.startsWith(" ") ? "inset" : null }, each.name.trim()), each.as_files, each.now, each.ratio,
  ] })), "");

function backup({ backup: newest }) {
  if (!newest) {
    return h("p", { class: "empty" }, "No verified backup is known. Make one with ", h("code", null, "overlaid backup"), ", or start the server with ",
      h("code", null, "--backup-every 1h"), ". Copies by cp are not counted here.");
  }
  return h("div", null, newest.failing && h("p", { class: "verdict bad" }, "The last attempt failed; the log says why."),
    facts([
      ["Verified", time(newest.verified_at)],
      ["Age", newest.age_s == null ? null : duration(newest.age_s)],
      ["Size", bytes(newest.file_bytes)],
    ]));
}

function doctor({ findings }) {
  const of = (severity) => findings.filter((finding) => finding.severity === severity);
  const item = ({ check, severity, what, do: todo }) => h("li", { "data-key": check, class: "finding" },
    chip(severity, { serious: "bad", warning: "warn", fine: "good" }[severity]),
    h("div", null, h("p", null, h("b", null, check), " – ", what), todo && h("p", { class: "note" }, "Do: ", todo)));
  const notable = [...of("serious"), ...of("warning")], fine = of("fine");
  return h("div", null,
    notable.length > 0 ? h("ul", { class: "findings" }, notable.map(item)) : h("p", { class: "empty" }, "Nothing needs you."),
    fine.length > 0 && h("details", null, h("summary", null, `${fine.length} checks are fine`), h("ul", { class: "findings" }, fine.map(item))));
}

export default {
  title: () => "Overview",
  every: 5_000,
  touches: ({ kind }) => kind === "signal",
  load: (_, signal) => getAll({
    ready: "/readyz", stats: "/v1/stats", doctor: "/v1/admin/doctor", active: `/v1/signals?status=active&limit=${SIGNALS}`,
  }, signal),
  render: ({ ready, stats, doctor: health, active }) => [
    or(ready, state),
    h("section", null, h("h2", null, "Last 15 minutes"), or(stats, charts)),
    section("Active signals", or(active, ({ signals, next_cursor: more }) => [
      table("Active signals", columns, signals.map((each) => row(each, now())), "No signal is active."),
      more && h("p", { class: "note" }, h("a", { href: "#/signals?status=active" }, "All active signals")),
    ])),
    h("div", { class: "columns" },
      h("div", null, section("What it holds", or(stats, holds)), section("What one file saves", or(stats, saves))),
      h("div", null, section("Newest backup", or(stats, backup)), section("Doctor", or(health, doctor)))),
  ],
};

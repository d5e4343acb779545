// The server at a glance: how it is, what it does, what it holds, what to look at, and the active signals.

import { getAll, now, Problem } from "./api.js";
import { chip, code, facts, h, section, table } from "./dom.js";
import { chart } from "./draw.js";
import { bytes, duration, latency, number, percent, time } from "./format.js";
import { columns, row } from "./signals.js";

const SIGNALS = 10;
const BACKUP_AGE_MAX_S = 2 * 86_400;

const WRITES = {
  "storage-full": "the disk is full. Free space on it.",
  "storage-failed": "the disk fails. Look at the log; writes go on by themselves once it works.",
  "file-replaced": "the database file was moved or replaced. Stop the server and put the right file in its place.",
};

/** How the server is, in one line, and what to do about each thing. */
function state({ status, writes, disk_low: low, backup, rates_old: rates, balances_old: balances }, { file }) {
  const warnings = [
    low && "The disk will be full soon: free space on it.",
    backup?.failing && "The last backup failed: the log says why.",
    backup?.age_s > BACKUP_AGE_MAX_S && `The newest backup is ${duration(backup.age_s)} old: make one with \`overlaid backup\`.`,
    file?.copies_are_safe === false && "A copy of the file by cp may be torn: make it with `overlaid backup`.",
    rates > 0 && `${number(rates)} rates are old: see that the price feed runs.`,
    balances > 0 && `${number(balances)} balances are old: see that the terminals push them.`,
  ].filter(Boolean);
  const [kind, text] = status === "ok"
    ? [warnings.length > 0 ? "warn" : "good", "Serving reads and writes."]
    : ["bad", `Degraded: reads are served, writes are refused, as ${WRITES[writes] ?? writes}`];
  return h("p", { class: `verdict ${kind}`, id: "verdict" }, code([text, ...warnings].join(" ")));
}

/** What an answer shows, or why there is none. */
export const or = (answer, show) => (answer instanceof Problem ? h("p", { class: "empty" }, answer.advice()) : show(answer));

const ratio = (part, whole) => (whole > 0 ? part / whole : null);
const held = (slot) => ratio(slot.not_modified, slot.requests);
const hits = (slot) => ratio(slot.cache_hits, slot.cache_hits + slot.cache_misses);

function charts({ recent: { slots: all, slot_s: seconds, total } }) {
  // The last slot is still being filled.
  const slots = all.length > 1 ? all.slice(0, -1) : all;
  const last = slots.at(-1);
  const line = (name) => slots.map((slot) => slot[name]);
  const count = (title, name) => {
    const rate = last[name] / seconds;
    return chart(title, `${number(rate, 0, rate < 10 ? 1 : 0)}/s`, `${number(total[name])} in 15 min`, line(name));
  };
  const share = (title, of) => chart(title, percent(of(last)), of(total) == null ? "nothing yet" : `${percent(of(total))} in 15 min`, slots.map(of));
  return h("div", { class: "charts" },
    count("Requests", "requests"),
    chart("Latency, median", latency(last.p50_us), `99 % within ${latency(last.p99_us)}`, line("p99_us"), line("p50_us")),
    share("Not modified (304)", held), count("Writes", "writes"), share("Cache hits", hits));
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
  [["", "name"], ["As files", "number"], ["One file", "number"], ["Ratio", "number"]],
  rows.map((each) => ({ key: each.name, cells: [
    h("span", { class: each.name.startsWith(" ") ? "inset" : null }, each.name.trim()), each.as_files, each.now, each.ratio,
  ] })), "");

function backup({ backup: newest }) {
  if (!newest) {
    return h("p", { class: "empty" }, code("No verified backup is known. Make one with `overlaid backup`, or start the server with `--backup-every 1h`. Copies by cp are not counted here."));
  }
  return facts([
    ["Verified", time(newest.verified_at)],
    ["Age", newest.age_s == null ? null : duration(newest.age_s)],
    ["Size", bytes(newest.file_bytes)],
  ]);
}

function doctor({ findings }) {
  const of = (severity) => findings.filter((finding) => finding.severity === severity);
  const item = ({ check, severity, what, do: todo }) => h("li", { "data-key": check, class: "finding" },
    chip(severity, { serious: "bad", warning: "warn", fine: "good" }[severity]),
    h("div", null, h("p", null, h("b", null, check), " – ", what), todo && h("p", { class: "note" }, "Do: ", code(todo))));
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
    or(ready, (answer) => state(answer, stats)),
    h("section", null, h("h2", null, "Last 15 minutes"), or(stats, charts)),
    section("Active signals", or(active, ({ signals, next_cursor: more }) => [
      table("Active signals", columns("Time left"), signals.map((each) => row(each, now())), "No signal is active."),
      more && h("p", { class: "note" }, h("a", { href: "#/signals?status=active" }, "All active signals")),
    ])),
    h("div", { class: "columns" },
      h("div", null, section("What it holds", or(stats, holds)), section("What one file saves", or(stats, saves))),
      h("div", null, section("Newest backup", or(stats, backup)), section("Doctor", or(health, doctor)))),
  ],
};

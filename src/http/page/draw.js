// Drawings: lines of the last minutes, bars of counts, the ladder of a signal's prices.

import { h, svg } from "./dom.js";
import { decimals, lots, number, percent, reason } from "./format.js";

const WIDTH = 240, HEIGHT = 56, SLOTS = 90;

/** A chart: what it shows, its present value, and lines of up to 90 values from old to new. */
export function chart(name, value, note, ...lines) {
  const most = Math.max(1e-9, ...lines.flat());
  const step = WIDTH / (SLOTS - 1);
  const points = (line) => line.map((at, index) => {
    const x = WIDTH - (line.length - 1 - index) * step;
    return `${x.toFixed(1)},${(HEIGHT - 2 - (at / most) * (HEIGHT - 6)).toFixed(1)}`;
  });
  const area = points(lines[0]);
  const first = area[0]?.split(",")[0] ?? WIDTH;
  return h("figure", { class: "chart", role: "img", "aria-label": `${name} over the last 15 minutes: now ${value}, ${note}` },
    h("figcaption", null, h("span", null, name), h("strong", null, value), h("small", null, note)),
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("path", { class: "base", d: `M0,${HEIGHT - 2}H${WIDTH}` }),
      area.length > 1 && svg("path", { class: "area", d: `M${first},${HEIGHT - 2}L${area.join("L")}V${HEIGHT - 2}Z` }),
      lines.map((line, at) => line.length > 1 && svg("path", { class: `line line-${at}`, d: `M${points(line).join("L")}` }))));
}

/** How many users may trade, and why the others may not. */
export function bars(summary) {
  const { users, tradable, reasons } = summary;
  const row = (name, count, kind) => h("li", { "data-key": name, class: kind },
    h("span", { class: "name" }, name),
    h("span", { class: "count" }, number(count)),
    svg("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "fill", width: users > 0 ? (100 * count) / users : 0, height: 6 })));
  const sorted = [...reasons].sort((one, other) => other.users - one.users);
  return h("div", { class: "bars" },
    h("p", { class: "large" }, h("strong", null, number(tradable)), ` of ${number(users)} users may trade`, users > 0 && ` (${percent(tradable / users)})`),
    h("ul", null, row("may trade", tradable, "good"), sorted.map((each) => row(reason(each.reason), each.users))),
    reasons.length > 0 && h("p", { class: "note" }, "A user with several reasons counts under each. ", h("a", { href: "/docs/missions#what-a-view-says" }, "What they mean")));
}

/** Entry, stop and targets with their distances in multiples of the stop's. */
function levelsOf(signal, mission) {
  const { entry_price: entry, stop_loss: stop, take_profits: list } = signal;
  const risk = entry != null && stop != null ? Math.abs(entry - stop) : undefined;
  const multiple = (price, pips) =>
    price != null && risk ? Math.abs(price - entry) / risk : pips != null && signal.stop_pips ? pips / signal.stop_pips : undefined;
  const own = (list ?? [{ price: signal.take_profit, pips: signal.target_pips }])
    .map((target) => (typeof target === "object" ? target : { price: Number(target) }))
    .map(({ price, pips, share }) => ({ price, pips, share, risk_reward: multiple(price, pips) }));
  const targets = (mission?.targets ?? own).filter((target) => target.risk_reward > 0);
  return [
    ...targets.map((target, at) => ({ ...target, kind: "target", name: targets.length > 1 ? `Target ${at + 1}` : "Target", at: target.risk_reward })),
    { kind: "entry", name: "Entry", price: entry, at: 0 },
    { kind: "stop", name: "Stop", price: stop, pips: mission?.stop_pips ?? signal.stop_pips, at: -1 },
  ];
}

/** The ladder of a signal's prices, to scale. `mission` is that of any user, which has pips and targets. */
export function ladder(signal, mission) {
  const W = 360, TOP = 16, GAP = 24;
  const up = signal.direction === "SELL" ? -1 : 1;
  const levels = levelsOf(signal, mission).map((level) => ({ ...level, at: level.at * up })).sort((one, other) => other.at - one.at);
  const high = levels[0].at, low = levels.at(-1).at;
  const H = Math.max(240, TOP * 2 + GAP * (levels.length - 1));
  const y = (at) => TOP + ((high - at) / (high - low || 1)) * (H - 2 * TOP);
  const ys = levels.map((level) => y(level.at));
  // Labels keep their distance from each other: first downwards, then back up from the edge.
  const labels = [...ys];
  for (let at = 1; at < labels.length; at++) labels[at] = Math.max(labels[at], labels[at - 1] + GAP);
  labels[labels.length - 1] = Math.min(labels.at(-1), H - TOP);
  for (let at = labels.length - 2; at >= 0; at--) labels[at] = Math.min(labels[at], labels[at + 1] - GAP);
  const entry = ys[levels.findIndex((level) => level.kind === "entry")];
  const band = (kind) => {
    const ends = ys.filter((_, at) => levels[at].kind === kind);
    const end = (up < 0) === (kind === "target") ? Math.max(...ends) : Math.min(...ends);
    return ends.length > 0 && svg("rect", { class: `band ${kind}`, x: 62, width: 28, y: Math.min(entry, end), height: Math.abs(end - entry), rx: 3 });
  };
  const places = decimals(...levels.map((level) => level.price));
  const told = ({ price, pips, kind, risk_reward, share, lots: size }) => [
    price != null && number(price, places),
    price == null && kind === "entry" && "at the market",
    pips != null && `${number(pips, 0, 1)} pips`,
    kind === "target" && `1 : ${number(risk_reward, 0, 2)}`,
    kind === "target" && share < 100 && `${number(share, 0, 1)} %`,
    size != null && `${lots(size, mission)} lots`,
  ].filter(Boolean);
  const words = levels.map((level) => `${level.name} ${told(level).join(", ")}`).join("; ");
  return h("figure", { class: "ladder" },
    svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Prices from high to low: ${words}` },
      band("target"), band("stop"),
      levels.map((level, at) => svg("g", { class: level.kind },
        svg("path", { class: "rung", d: `M58,${ys[at]}H94L110,${labels[at]}H116` }),
        svg("text", { x: 52, y: labels[at] + 4, "text-anchor": "end", class: "what" }, level.name),
        svg("text", { x: 122, y: labels[at] + 4 }, told(level).join("  ·  "))))));
}

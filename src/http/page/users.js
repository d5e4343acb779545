// Users: the list, one user's overlay with missions and outcomes, and one mission step by step.

import { get, getAll, now, path, Problem, query } from "./api.js";
import { facts, h, pager, search, section, table } from "./dom.js";
import { ladder } from "./draw.js";
import { limit, lots, money, number, readLotSteps, reason, time } from "./format.js";
import { or } from "./overview.js";
import { missionCells, missionColumns, others } from "./signal.js";
import { direction, statusChip, timeLeft } from "./signals.js";

const ROWS = 50;
const KNOWN = ("user_id tier risk_percent risk_basis account_balance account_equity free_margin leverage account_currency win_rate"
  + " trades_remaining updated_at balance_confirmed_at").split(" ");

const share = (value) => (value == null ? null : `${number(value)} %`);

export const list = {
  title: () => "Users",
  touches: ({ kind }) => kind === "overlay",
  async load({ prefix, cursor }, signal) {
    return (await getAll({ page: `/v1/users${query({ prefix, cursor, limit: ROWS })}` }, signal)).page;
  },
  render(page, { prefix }) {
    const mayList = !(page instanceof Problem);
    const go = (text) => { location.hash = mayList || !text ? `#/users${query({ prefix: text })}` : path`#/users/${text}`; };
    const rows = mayList && page.users.map((user) => ({ key: user.user_id, cells: [
      h("a", { href: path`#/users/${user.user_id}` }, user.user_id), user.tier ?? "–", money(user.account_balance, user.account_currency),
      share(user.risk_percent) ?? (user.tier ? "tier's" : "–"), number(user.trades_remaining), time(user.updated_at),
    ] }));
    return [
      search("User", prefix, "id, or how it begins", mayList ? "Search" : "Open", go),
      h("section", { class: "block", "aria-label": "Users" }, or(page, () => [
        table("Users", [["User", "name"], ["Tier", "wide"], ["Balance", "number"], ["Risk", "number"], ["Trades left", "number wide"], ["Updated", "number wide"]],
          rows, prefix ? `No user's id begins with ${prefix}.` : "There are no users yet."),
        pager(page, (cursor) => `#/users${query({ prefix, cursor })}`)])),
    ];
  },
};

const overlayFacts = (overlay) => {
  const amount = (value) => (value == null ? null : money(value, overlay.account_currency));
  return facts([
    ["Balance", amount(overlay.account_balance) ?? "not known"],
    ["Equity", amount(overlay.account_equity)],
    ["Free margin", amount(overlay.free_margin)],
    ["Risk", [share(overlay.risk_percent) ?? (overlay.tier ? "the tier's" : "not known"), overlay.risk_basis === "equity" && " of the equity"]],
    ["Leverage", overlay.leverage == null ? null : `1 : ${number(overlay.leverage)}`],
    ["Tier", overlay.tier ?? "none"],
    ["Trades left today", overlay.trades_remaining == null ? null : number(overlay.trades_remaining)],
    ["Win rate", share(overlay.win_rate)],
    ["Updated", time(overlay.updated_at)],
  ]);
};

const missionTable = (id, views) => table("Active missions",
  [["Symbol", "name"], ["", ""], ...missionColumns, ["Time left", "number"]], views.map(({ signal, mission }) => ({
    key: signal.signal_id,
    cells: [
      h("a", { href: path`#/users/${id}/missions/${signal.signal_id}`, title: signal.signal_id }, signal.symbol), direction(signal.direction),
      ...missionCells(mission), timeLeft(signal, now()),
    ],
  })), "No signal is active.");

const outcomeTable = (outcomes, currency) => table("Outcomes",
  [["Signal", "name"], ["Status", ""], ["Result", ""], ["Profit", "number"], ["At", "number"]], outcomes.map((outcome) => ({
    key: outcome.signal_id,
    cells: [
      h("a", { href: path`#/signals/${outcome.signal_id}` }, outcome.signal_id), statusChip(outcome.status), outcome.result ?? "–",
      money(outcome.profit, currency), time(outcome.at),
    ],
  })), "Nothing has happened for this user yet.");

export const user = {
  title: ({ id }) => `User ${id}`,
  touches: ({ kind, key }, { id }) => !(kind === "overlay" || kind === "outcome") || key.split("/").includes(id),
  async load({ id, missions, outcomes }, signal) {
    const overlay = await get(path`/v1/users/${id}/overlay`, signal);
    await readLotSteps(signal);
    const answers = await getAll({
      active: path`/v1/users/${id}/missions` + query({ status: "active", limit: ROWS, cursor: missions }),
      happened: path`/v1/users/${id}/outcomes` + query({ limit: ROWS, cursor: outcomes }),
    }, signal);
    return { overlay, ...answers };
  },
  render({ overlay, active, happened }, { id }) {
    return [
      section("Overlay", overlayFacts(overlay), others(overlay, KNOWN)),
      section("Active missions", or(active, (page) => [
        missionTable(id, page.missions), pager(page, (missions) => path`#/users/${id}` + query({ missions }))])),
      section("Outcomes", or(happened, (page) => [
        outcomeTable(page.outcomes, overlay.account_currency), pager(page, (outcomes) => path`#/users/${id}` + query({ outcomes }), "Older outcomes")])),
    ];
  },
};

export const why = {
  title: ({ id, of }, data) => data ? `${data.view.signal.symbol} for user ${id}` : `${of} for user ${id}`,
  touches: user.touches,
  async load({ id, of }, signal) {
    const view = await get(path`/v1/users/${id}/missions/${of}`, signal);
    await readLotSteps(signal);
    return { view, steps: (await get(path`/v1/users/${id}/missions/${of}/explanation`, signal)).steps };
  },
  render({ view: { signal, user: overlay, mission }, steps }, { id, of }) {
    const { account_currency: currency } = mission;
    return [
      h("p", { class: "lead" }, statusChip(mission.status), " ", direction(signal.direction), " ", h("a", { href: path`#/signals/${of}` }, signal.symbol),
        " for ", h("a", { href: path`#/users/${id}` }, `user ${id}`), mission.status === "active" && [", ", timeLeft(signal, now()), " left"]),
      mission.tradable
        ? h("p", { class: "verdict good" }, "May trade ", h("strong", null, `${lots(mission.lots, mission)} lots`), `: the ${limit(mission.limited_by)} decides the size.`)
        : h("p", { class: "verdict bad" }, "May not trade: ", mission.reasons.map(reason).join("; "), "."),
      h("div", { class: "columns" },
        section("What it comes to", facts([
          ["Lots", lots(mission.lots, mission)],
          ["Risk", money(mission.risk_amount, currency)],
          ["Risk budget", money(mission.risk_budget, currency)],
          ["Reward", money(mission.reward_amount, currency)],
          ["Risk : reward", mission.risk_reward == null ? null : `1 : ${number(mission.risk_reward, 0, 2)}`],
          ["Balance", money(overlay.account_balance, currency)],
          ["Rate", mission.conversion_path?.length > 0 ? `${number(mission.conversion_rate)} by ${mission.conversion_path.join(", ")}` : null],
        ])),
        section("Prices", ladder(signal, mission))),
      section("Why: step by step",
        h("ol", { class: "steps" }, steps.map(({ name, text }) => h("li", { "data-key": name, class: name === "stops here" || name === "size" ? "decides" : null },
          h("b", null, name), h("span", null, text))))),
    ];
  },
};

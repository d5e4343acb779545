// One signal: its prices, who may trade it and why the others may not, and its missions.

import { get, getAll, now, path, Problem, query } from "./api.js";
import { chip, facts, h, pager, search, section, table } from "./dom.js";
import { bars, ladder } from "./draw.js";
import { limit, lots, money, number, plain, readLotSteps, reason, time } from "./format.js";
import { or } from "./overview.js";
import { direction, statusChip, statusOf, timeLeft } from "./signals.js";

const ROWS = 50;
const KNOWN = ("signal_id symbol direction entry_price stop_loss take_profit take_profits stop_pips target_pips pattern_type confidence"
  + " created_at expires_at status").split(" ");

/** Members of a record that the page has no place for. */
export function others(record, known) {
  const rest = Object.entries(record).filter(([name]) => !known.includes(name));
  return rest.length > 0 && h("details", null, h("summary", null, `${rest.length} more, as sent`),
    facts(rest.map(([name, value]) => [name, h("span", { class: "plain" }, plain(value))])));
}

/** Why a mission may not be traded, or which limit decided its size. */
const verdict = ({ tradable, reasons, limited_by: by }) =>
  h("span", { class: "note" }, tradable ? limit(by) : [chip("may not", "bad"), " ", reasons.map(reason).join("; ")]);

export function missionCells(mission) {
  const { account_currency: currency } = mission;
  return [
    lots(mission.lots, mission), verdict(mission), money(mission.risk_amount, currency), money(mission.reward_amount, currency),
  ];
}

export const missionColumns = [["Lots", "number"], ["Limit, or why not", ""], ["Risk", "number"], ["Reward", "number"]];

/** Missions of all users, or of those whose ids begin with a text. */
async function missions(id, { user, cursor }, signal) {
  const list = path`/v1/signals/${id}/missions`;
  await readLotSteps(signal);
  if (!user) return get(`${list}${query({ parts: "mission", limit: ROWS, cursor })}`, signal);
  const page = await get(`/v1/users${query({ prefix: user, limit: ROWS, cursor })}`, signal);
  const users = page.users.map((overlay) => overlay.user_id).join(",");
  const found = users ? await get(`${list}${query({ parts: "mission", users })}`, signal) : { missions: [] };
  return { ...found, next_cursor: page.next_cursor };
}

function list(id, { user }, page) {
  const { missions: rows } = page;
  const here = (members) => path`#/signals/${id}` + query(members);
  return [
    search("User", user, "id, or how it begins", "Search", (text) => { location.hash = here({ user: text }); }),
    table("Missions on this signal", [["User", "name"], ["Status", "wide"], ...missionColumns], rows.map(({ user_id: of, mission }) => ({
      key: of,
      cells: [h("a", { href: path`#/users/${of}/missions/${id}` }, of), statusChip(mission.status), ...missionCells(mission)],
    })), user ? `No user's id begins with ${user}.` : "There are no users yet."),
    pager(page, (cursor) => here({ user, cursor })),
  ];
}

/** What a mission says of the signal's prices, without the size, which is a user's. */
const levels = (row) => row && { ...row.mission, targets: row.mission.targets.map((target) => ({ ...target, lots: null })) };

export default {
  title: ({ id }, data) => data?.signal.symbol ? [data.signal.symbol, " ", direction(data.signal.direction)] : id,
  touches: ({ kind, key }, { id }) => kind !== "signal" || key === id,
  async load({ id, user, cursor }, signal) {
    const shared = await get(path`/v1/signals/${id}`, signal);
    const rest = await getAll({ summary: path`/v1/signals/${id}/summary` }, signal);
    const page = rest.summary instanceof Problem ? rest.summary : await missions(id, { user, cursor }, signal);
    return { signal: shared, ...rest, page };
  },
  render({ signal, summary, page }, { id, user }) {
    const moment = now();
    const status = statusOf(signal, moment);
    return [
      h("p", { class: "lead" }, statusChip(status), status === "active" ? " expires in " : " expiry ", timeLeft(signal, moment), " · ", h("code", null, id)),
      h("div", { class: "columns" },
        section("Prices", ladder(signal, levels(page.missions?.[0])),
          facts([["Confidence", number(signal.confidence, 1)], ["Published", time(signal.created_at)], ["Expires", time(signal.expires_at)],
            ["Pattern", signal.pattern_type?.split(/(?<=_)/).map((word) => [word, h("wbr")])]]),
          others(signal, KNOWN)),
        section("Who may trade it", or(summary, bars))),
      section("Missions", or(page, (rows) => list(id, { user }, rows))),
    ];
  },
};

// Changes: those that came since the page was opened, by kind.

import { get, path, query } from "./api.js";
import { chip, h, table } from "./dom.js";
import { clock, number } from "./format.js";

const KEPT = 200;
const log = [];

/** Keeps changes that have come. */
export function keep(changes) {
  const at = new Date().toISOString();
  log.unshift(...changes.map((change) => ({ ...change, at })).reverse());
  log.length = Math.min(log.length, KEPT);
}

function place({ kind, key }) {
  if (kind === "signal") return path`#/signals/${key}`;
  if (kind === "overlay") return path`#/users/${key}`;
  const [user, of] = key.split("/");
  return kind === "outcome" ? path`#/users/${user}/missions/${of}` : null;
}

export default {
  title: () => "Changes",
  touches: () => true,
  async load(_, signal) {
    // Says so if the token may not see them.
    await get("/v1/changes", signal);
    return log;
  },
  render(changes, { kind }) {
    const kinds = ["signal", "overlay", "outcome", "rate"];
    const link = (name, of) => h("a", { href: `#/changes${query({ kind: of })}`, "aria-current": (kind ?? "") === of ? "true" : null }, name);
    const shown = kind ? changes.filter((change) => change.kind === kind) : changes;
    return [
      h("nav", { class: "tabs", "aria-label": "Kinds" }, link("All", ""), kinds.map((of) => link(of, of))),
      h("section", { class: "block", "aria-label": "Changes" },
        table("Changes", [["Seen", "number narrow"], ["Kind", ""], ["Key", "name"], ["Number", "number"]], shown.map((change) => ({
          key: `${change.kind} ${change.key} ${change.seq}`,
          cells: [clock(change.at), [change.kind, change.deleted && [" ", chip("deleted", "bad")]],
            place(change) && !change.deleted ? h("a", { href: place(change) }, change.key) : change.key, number(change.seq)],
        })), "No change has come since this page was opened.")),
    ];
  },
};

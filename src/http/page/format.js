// Numbers, times and words as a person reads them.

import { get } from "./api.js";
import { h } from "./dom.js";

const NONE = "–";

const formats = {};
/** A number with so many decimals. */
export function number(value, least = 0, most = Math.max(least, 8)) {
  if (value == null) return NONE;
  formats[[least, most]] ??= new Intl.NumberFormat("en", { minimumFractionDigits: least, maximumFractionDigits: most });
  return formats[[least, most]].format(value);
}

/** Decimals that show all these numbers in full. */
export const decimals = (...values) => Math.max(...values.map((value) => number(value).split(".")[1]?.length ?? 0));

let lotSteps;
/** Reads the table of instruments, once. */
export async function readLotSteps(signal) {
  lotSteps ??= Object.fromEntries((await get("/v1/instruments", signal)).instruments.map((each) => [each.instrument, each.lot_step]));
}

/** Lots of a mission, with the decimals of its instrument's lot step. */
export const lots = (size, { instrument }) => number(size, decimals(lotSteps[instrument]));

/** Decimals of a currency; two for one that is in no table, as USDT. */
function places(currency) {
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits;
  } catch {
    return 2;
  }
}

/** An amount in a currency, cut to its decimals; the exact one on hover. */
export function money(value, currency) {
  if (value == null) return NONE;
  const most = places(currency);
  const cut = Math.trunc(Number((value * 10 ** most).toPrecision(15))) / 10 ** most;
  return h("span", { title: `${number(value)} ${currency}` },
    number(cut, most, most), h("span", { class: "unit" }, ` ${currency}`));
}

export const percent = (share) => (share == null ? NONE : `${number(share * 100, 0, share > 0 && share < 0.1 ? 1 : 0)} %`);

export function bytes(count) {
  if (count == null) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const at = count < 1024 ? 0 : Math.min(Math.floor(Math.log2(count) / 10), units.length - 1);
  const value = count / 1024 ** at;
  return `${number(value, 0, at === 0 || value >= 100 ? 0 : 1)} ${units[at]}`;
}

export const latency = (us) => (us < 1000 ? `${number(us)} µs` : `${number(us / 1000, 0, us < 10000 ? 1 : 0)} ms`);

/** A length of time in its two largest units. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [[Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).filter(([count], at) => at === 0 || count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

const DAY_AND_TIME = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };

/** A moment for programs, and in UTC on hover. */
const stamp = (date) => ({ datetime: date.toISOString(), title: date.toUTCString().replace("GMT", "UTC") });

/** A time of this place. */
export function time(moment, options) {
  if (!moment) return NONE;
  const date = new Date(moment);
  const year = date.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  const text = new Intl.DateTimeFormat("en-GB", options ?? { ...DAY_AND_TIME, ...year }).format(date);
  return h("time", stamp(date), text);
}

/** A time of this day, to the second. */
export const clock = (moment) => time(moment, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** The time that is left, which runs on by `tick`. */
export const countdown = (moment, now) =>
  h("time", { ...stamp(new Date(moment)), "data-until": moment, role: "timer" }, duration((Date.parse(moment) - now) / 1000));

/** Lets all times that are left run on; returns whether one has come to its end. */
export function tick(now) {
  let ended = false;
  for (const element of document.querySelectorAll("[data-until]")) {
    const left = (Date.parse(element.dataset.until) - now) / 1000;
    const text = duration(left);
    if (element.textContent !== text) element.textContent = text;
    ended ||= left <= 0;
  }
  return ended;
}

/** Why a mission may not be traded. */
export const reason = (name) => name.replaceAll("_", " ");

const LIMITS = {
  risk: "risk budget", margin: "free margin", tier: "tier's largest size", instrument: "instrument's largest size",
};
/** Which limit decided a size. */
export const limit = (name) => (name == null ? NONE : LIMITS[name] ?? name);

/** A value as published, whatever it is. */
export function plain(value) {
  if (typeof value === "string") return value;
  return typeof value === "number" ? number(value) : JSON.stringify(value, null, 1);
}

// The public routes, with the token of this tab.

const KEY = "overlaid-token";
/** Longer than a long poll waits. */
const PATIENCE_MS = 45_000;

let skew = 0;

/** A refusal, or no answer at all: then `status` is 0. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }

  /** What it means for the person. */
  advice() {
    if (this.status === 403) return `Your token may not see this: ${this.message.replace(/^the token does not allow this: /, "")}.`;
    return `${this.status === 404 ? "It may have been removed. " : ""}The server says: ${this.message}.`;
  }
}

/** What the token may not see, by path: asked for once, or the server's log would fill. */
const refusals = new Map();

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget() {
    refusals.clear();
    sessionStorage.removeItem(KEY);
  },
};

/** The server's clock, in milliseconds. */
export const now = () => Date.now() + skew;

/** The answer's JSON; throws a `Problem`. */
export async function get(path, signal) {
  if (refusals.has(path)) throw refusals.get(path);
  const headers = token.get() ? { authorization: `Bearer ${token.get()}` } : {};
  const patience = AbortSignal.timeout(PATIENCE_MS);
  let answer, text;
  try {
    answer = await fetch(path, { headers, signal: signal ? AbortSignal.any([signal, patience]) : patience });
    text = await answer.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "no answer");
  }
  const date = Date.parse(answer.headers.get("date"));
  // The header is exact to the second.
  if (date && Math.abs(date - Date.now()) > 2000) skew = date - Date.now();
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    // A proxy that finds no server answers with a page of its own.
    throw new Problem(answer.status >= 500 ? 0 : answer.status, `no JSON, status ${answer.status}`);
  }
  if (answer.ok) return body;
  const problem = new Problem(answer.status, body.detail ?? `status ${answer.status}`);
  if (problem.status === 403) refusals.set(path, problem);
  throw problem;
}

/** Each answer under its name, or the `Problem` in its place; throws one that concerns the whole page. */
export async function getAll(paths, signal) {
  const names = Object.keys(paths);
  const results = await Promise.allSettled(names.map((name) => get(paths[name], signal)));
  const failed = results.map((result) => result.reason).filter(Boolean);
  const fatal = failed.find((error) => !(error instanceof Problem) || error.status === 0 || error.status === 401);
  if (fatal) throw fatal;
  return Object.fromEntries(names.map((name, at) => [name, results[at].reason ?? results[at].value]));
}

/** A path of ids that may hold any character. */
export const path = (parts, ...ids) => parts.reduce((whole, part, at) => whole + encodeURIComponent(ids[at - 1]) + part);

/** A query of what is given. */
export function query(members) {
  const given = Object.entries(members).filter(([, value]) => value != null && value !== "");
  return given.length > 0 ? `?${new URLSearchParams(given)}` : "";
}

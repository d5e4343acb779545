// A session through openapi-fetch, with the types that openapi-typescript made of the document.

import createClient from "openapi-fetch";
import type { paths } from "./api";

declare const process: { env: Record<string, string> };

function check(holds: unknown, what: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(what));
}

// Answers of many lines have other media types, so that the types of pages are not mixed with those of lines.
type Json = "application/json" | "application/problem+json";
const client = createClient<paths, Json>({
  baseUrl: process.env.OVERLAID_URL,
  headers: { authorization: `Bearer ${process.env.OVERLAID_TOKEN}` },
});

async function session(signal: string, user: string) {
  const published = await client.PUT("/v1/signals/{signal}", {
    params: { path: { signal } },
    body: { symbol: "EURUSD", direction: "BUY", entry_price: 1.085, stop_loss: 1.083, take_profit: 1.089 },
  });
  check(published.response.status === 201 && published.data?.direction === "BUY", published);

  const path = { user };
  const made = await client.PUT("/v1/users/{user}/overlay", {
    params: { path },
    body: { account_balance: "5000", risk_percent: 2 },
  });
  check(made.response.status === 201, made);
  const changed = await client.PATCH("/v1/users/{user}/overlay", { params: { path }, body: { account_balance: 10000 } });
  check(changed.data?.account_balance === 10000 && changed.data.risk_percent === 2, changed);

  const view = await client.GET("/v1/users/{user}/missions/{signal}", { params: { path: { user, signal } } });
  check(view.data?.mission.tradable && view.data.mission.lots === 1, view);
  const tag = view.response.headers.get("etag") ?? "";
  const held = await client.GET("/v1/users/{user}/missions/{signal}", {
    params: { path: { user, signal }, header: { "If-None-Match": tag } },
  });
  check(held.response.status === 304, held);

  const page = await client.GET("/v1/signals/{signal}/missions", {
    params: { path: { signal }, query: { users: [user, "nobody"] } },
  });
  check(page.data?.missions.length === 1 && page.data.absent?.[0] === "nobody", page);

  const now = await client.GET("/v1/changes");
  await client.PATCH("/v1/users/{user}/overlay", { params: { path }, body: { account_balance: 20000 } });
  const changes = await client.GET("/v1/changes", { params: { query: { since: now.data?.cursor, wait: 10 } } });
  check(changes.data?.changes.length === 1 && changes.data.changes[0]?.key === user, changes);

  const absent = await client.GET("/v1/signals/{signal}", { params: { path: { signal: "NONE-1" } } });
  check(absent.response.status === 404 && absent.error?.code === "not-found", absent);
}

session("FETCH-1", "fetch").catch((error) => {
  console.error(error);
  throw error;
});

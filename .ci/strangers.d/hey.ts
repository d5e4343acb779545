// A session through the client that @hey-api/openapi-ts made of the document.

import { client } from "./hey/client.gen";
import { getMission, getSignal, listChanges, listMissionsOfSignal, patchOverlay, putOverlay, putSignal } from "./hey/sdk.gen";

declare const process: { env: Record<string, string> };

function check(holds: unknown, what: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(what));
}

client.setConfig({ baseUrl: process.env.OVERLAID_URL, auth: () => process.env.OVERLAID_TOKEN });

async function session(signal: string, user: string) {
  const published = await putSignal({
    path: { signal },
    body: { symbol: "EURUSD", direction: "BUY", entry_price: 1.085, stop_loss: 1.083, take_profit: 1.089 },
  });
  check(published.response?.status === 201 && published.data?.direction === "BUY", published);

  const made = await putOverlay({ path: { user }, body: { account_balance: "5000", risk_percent: 2 } });
  check(made.response?.status === 201, made);
  const changed = await patchOverlay({ path: { user }, body: { account_balance: 10000 } });
  check(changed.data?.account_balance === 10000 && changed.data.risk_percent === 2, changed);

  const view = await getMission({ path: { user, signal } });
  check(view.data?.mission.tradable && view.data.mission.lots === 1, view);
  const tag = view.response?.headers.get("etag") ?? "";
  const held = await getMission({ path: { user, signal }, headers: { "If-None-Match": tag } });
  check(held.response?.status === 304, held);

  const page = await listMissionsOfSignal({ path: { signal }, query: { users: [user, "nobody"] } });
  check(page.data?.missions.length === 1 && page.data.absent?.[0] === "nobody", page);

  const now = await listChanges();
  await patchOverlay({ path: { user }, body: { account_balance: 20000 } });
  const changes = await listChanges({ query: { since: now.data?.cursor, wait: 10 } });
  check(changes.data?.changes.length === 1 && changes.data.changes[0]?.key === user, changes);

  const absent = await getSignal({ path: { signal: "NONE-1" } });
  check(absent.response?.status === 404 && absent.error?.code === "not-found", absent);
}

session("HEY-1", "hey").catch((error) => {
  console.error(error);
  throw error;
});

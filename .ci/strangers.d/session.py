"""A session through the client that openapi-python-client made of the document."""

import os

from overlaid_client import AuthenticatedClient
from overlaid_client.api.changes import list_changes
from overlaid_client.api.missions import get_mission, list_missions_of_signal
from overlaid_client.api.signals import get_signal, put_signal
from overlaid_client.api.users import patch_overlay, put_overlay
from overlaid_client.models import Direction, NewOverlay, NewSignal, ProblemCode

client = AuthenticatedClient(base_url=os.environ["OVERLAID_URL"], token=os.environ["OVERLAID_TOKEN"])
signal, user = "PYTHON-1", "python"

body = NewSignal(symbol="EURUSD", direction=Direction.BUY, entry_price=1.085, stop_loss=1.083, take_profit=1.089)
published = put_signal.sync_detailed(signal, client=client, body=body)
assert published.status_code == 201 and published.parsed.direction is Direction.BUY, published

made = put_overlay.sync_detailed(user, client=client, body=NewOverlay(account_balance="5000", risk_percent=2))
assert made.status_code == 201, made
changed = patch_overlay.sync_detailed(user, client=client, body=NewOverlay(account_balance=10000))
assert changed.status_code == 200 and changed.parsed.account_balance == 10000, changed
assert changed.parsed.risk_percent == 2, changed

view = get_mission.sync_detailed(user, signal, client=client)
assert view.status_code == 200 and view.parsed.mission.lots == 1.0 and view.parsed.mission.tradable, view
held = get_mission.sync_detailed(user, signal, client=client, if_none_match=view.headers["etag"])
assert held.status_code == 304, held

page = list_missions_of_signal.sync_detailed(signal, client=client, users=[user, "nobody"])
assert page.status_code == 200, page
assert [row.user.user_id for row in page.parsed.missions] == [user] and page.parsed.absent == ["nobody"], page

cursor = list_changes.sync_detailed(client=client).parsed.cursor
patch_overlay.sync_detailed(user, client=client, body=NewOverlay(account_balance=20000))
changes = list_changes.sync_detailed(client=client, since=cursor, wait=10)
assert [change.key for change in changes.parsed.changes] == [user], changes

absent = get_signal.sync_detailed("NONE-1", client=client)
assert absent.status_code == 404 and absent.parsed.code is ProblemCode.NOT_FOUND, absent

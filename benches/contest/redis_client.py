"""The planned redesign's client: overlays from Redis, sizes computed and views rendered in Python.

Reads orders (mget or get) from standard input, and answers each with the seconds it took.
"""
import json
import sys
import time

import redis

port, signal_key, pattern = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = redis.Redis(port=port)
keys = sorted(client.scan_iter(match=pattern, count=1000))
RATES = {"USD": 1.0, "EUR": 1 / 1.085, "GBP": 1 / 1.34}
MAX_LOTS = {"PRESS_PASS": 0.1, "NIBBLER": 1.0, "FANG": 5.0, "COMMANDER": 20.0}


def view(signal, overlay):
    """Joins a signal and an overlay with the size that they come to."""
    rate = RATES[overlay["account_currency"]]
    stop = abs(signal["entry_price"] - signal["stop_loss"])
    target = abs(signal["take_profit"] - signal["entry_price"])
    budget = overlay["account_balance"] * overlay["risk_percent"] / 100
    raw = budget / (stop * 100000 * rate)
    lots = min(int(raw * 100) / 100, MAX_LOTS[overlay["tier"]])
    mission = {
        "status": "active",
        "tradable": lots > 0,
        "reasons": [],
        "stop_pips": stop * 10000,
        "target_pips": target * 10000,
        "risk_reward": target / stop,
        "risk_percent": overlay["risk_percent"],
        "risk_budget": budget,
        "lots_raw": raw,
        "lots": lots,
        "risk_amount": lots * stop * 100000 * rate,
        "reward_amount": lots * target * 100000 * rate,
        "account_currency": overlay["account_currency"],
        "conversion_rate": rate,
    }
    return json.dumps({"signal": signal, "user": overlay, "mission": mission})


for order in sys.stdin:
    start = time.perf_counter()
    signal = json.loads(client.get(signal_key))
    if order.strip() == "mget":
        overlays = client.mget(keys)
    else:
        overlays = [client.get(key) for key in keys]
    lines = "\n".join(view(signal, json.loads(overlay)) for overlay in overlays).encode()
    print(time.perf_counter() - start, flush=True)
    assert lines.count(b"\n") == len(keys) - 1

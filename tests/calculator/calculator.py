"""Random missions of a running server against a calculator of its own, number by number.

    python3 calculator.py ADDRESS CASES INSTRUMENTS TIERS

ADDRESS is host:port of a server without records. INSTRUMENTS and TIERS are lists of tables, separated by commas; of two
entries of one name the later counts, as with the server's options. The calculator follows the manual and not the
program: exact fractions, one rule a function. It prints each difference, and how many missions had which reason and
limit, so that a run that tests little is seen. Exit code 0: no differences.
"""

import http.client
import json
import math
import random
import sys
import time
from collections import Counter
from fractions import Fraction

try:
    import tomllib
except ImportError:
    print("skipped: python3 is older than 3.11, and has no tomllib")
    sys.exit(0)

UNIT = Fraction(1, 10**8)
LARGEST = (2**63 - 1) * UNIT
PIVOTS = ["USD", "EUR", "GBP", "JPY", "CHF", "AUD", "USDT"]
REASONS = """expired already_fired already_failed already_closed signal_cancelled signal_closed not_yet_active
    unknown_symbol unknown_tier below_tier_confidence no_trades_remaining no_balance no_equity negative_balance
    negative_equity stale_balance no_risk_percent zero_risk no_conversion_rate stale_rate below_minimum_lot insufficient_margin""".split()
FAR = "2099-01-01T00:00:00Z"
HOUR = 3600
# Those of the table beside this program.
SUFFIXES = [".M", "M", "+", ".PRO"]
# The ages that the server is started with.
RATE_AGE_MAX = 168 * HOUR
BALANCE_AGE_MAX = 24 * HOUR


# What the manual says.


def cut(number):
    return math.floor(number / UNIT) * UNIT


def raised(number):
    return math.ceil(number / UNIT) * UNIT


def rounded(number):
    """To eight decimals, half to even: what round() does of a fraction."""
    return round(number / UNIT) * UNIT


def steps(lots, step):
    return math.floor(lots / step)


def moment(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def pair_name(one, other):
    return one + other if len(one) == len(other) == 3 else f"{one}-{other}"


def leg(rates, source, target):
    """The factor from one currency to another by one stored price, and the pair that it is of."""
    if (pair := pair_name(source, target)) in rates:
        return rates[pair]["price"], pair
    if (pair := pair_name(target, source)) in rates:
        return 1 / rates[pair]["price"], pair
    return None


def conversion(rates, instrument, entry, account):
    """The exact rate from the quote currency to the account's, and the pairs on the way; None without one."""
    quote = instrument["quote"]
    if quote == account:
        return Fraction(1), []
    if entry is not None and instrument.get("base") == account:
        return 1 / entry, [pair_name(account, quote)]
    if found := leg(rates, quote, account):
        return found[0], [found[1]]
    for pivot in PIVOTS:
        if pivot in (quote, account):
            continue
        first, second = leg(rates, quote, pivot), leg(rates, pivot, account)
        if first and second:
            return first[0] * second[0], [first[1], second[1]]
    return None


def instrument_of(symbol, instruments):
    """By name or alias, else so without the longest suffix with which there is one."""
    symbol = symbol.upper().replace("/", "")
    for suffix in ["", *sorted(SUFFIXES, key=len, reverse=True)]:
        if symbol.endswith(suffix) and (found := instruments.get(symbol.removesuffix(suffix))):
            return found
    return None


def split(lots, shares, step):
    """The parts of a size: each share cut to the step, and what is left to the first."""
    parts = [steps(lots * share, step) * step for share in shares]
    if parts:
        parts[0] += lots - sum(parts)
    return parts


def levels(signal, instrument):
    """Entry, distance to the stop, and the targets with price, pips, distance and share; None is what is not known."""
    pip = instrument and instrument["pip"]
    entry = signal.get("entry_price")
    winning = 1 if signal["direction"] == "BUY" else -1

    def by_price(price):
        distance = abs(price - entry)
        return {"price": price, "pips": distance / pip if pip else None, "distance": distance}

    def by_pips(pips):
        distance = pips * pip if pip else None
        price = entry + winning * cut(distance) if distance is not None and entry is not None else None
        return {"price": price if price is not None and price > 0 else None, "pips": pips, "distance": distance}

    stop = by_price(signal["stop_loss"]) if "stop_loss" in signal else by_pips(signal["stop_pips"])
    if "take_profit" in signal:
        listed = [signal["take_profit"]]
    elif "target_pips" in signal:
        listed = [{"pips": signal["target_pips"]}]
    else:
        listed = signal.get("take_profits", [])
    targets = []
    for item in listed:
        item = item if isinstance(item, dict) else {"price": item}
        target = by_price(item["price"]) if "price" in item else by_pips(item["pips"])
        target["share"] = item["share"] / 100 if "share" in item else Fraction(1, len(listed))
        # Of an unknown symbol the ratio of two distances in pips is known, and that of two in price.
        if target["distance"] is not None and stop["distance"] is not None:
            target["ratio"] = target["distance"] / stop["distance"]
        elif target["pips"] is not None and stop["pips"] is not None:
            target["ratio"] = target["pips"] / stop["pips"]
        else:
            target["ratio"] = None
        targets.append(target)
    return entry, stop, targets


def expected(signal, user, outcome, market, now):
    """The whole mission, but for its seconds."""
    instruments, tiers, rates = market
    reasons = set()
    instrument = instrument_of(signal["symbol"], instruments)
    entry, stop, targets = levels(signal, instrument)
    known = lambda number, how: None if number is None else how(number)
    shown = [
        {
            "price": target["price"],
            "pips": known(target["pips"], rounded),
            "risk_reward": known(target["ratio"], cut),
            "share": cut(target["share"] * 100),
            "lots": None,
            "reward_amount": None,
        }
        for target in targets
    ]
    mission = {
        "instrument": instrument["name"] if instrument else None,
        "stop_pips": known(stop["pips"], rounded),
        "target_pips": shown[0]["pips"] if shown else None,
        "risk_reward": shown[0]["risk_reward"] if shown else None,
        "targets": shown,
        "account_currency": user.get("account_currency", "USD"),
    }
    for name in "lots_raw lots risk_amount reward_amount limited_by margin_required conversion_rate".split():
        mission[name] = None
    mission["conversion_path"] = mission["rates_confirmed_at"] = mission["balance_confirmed_at"] = None

    # What happened, and when it is.
    status = signal.get("status", "active")
    is_expired = signal["expires_at"] != FAR
    if is_expired:
        reasons.add("expired")
    if outcome:
        reasons.add(f"already_{outcome}")
    if status != "active":
        reasons.add(f"signal_{status}")
    if signal["created_at"] > now + 60:
        reasons.add("not_yet_active")
    mission["status"] = outcome or (status if status != "active" else "expired" if is_expired else "active")

    # The user and the tier.
    tier = None
    if "tier" in user:
        tier = tiers.get(user["tier"])
        if tier is None:
            reasons.add("unknown_tier")
    if tier and signal.get("confidence", 100) < tier["min_confidence"]:
        reasons.add("below_tier_confidence")
    if user.get("trades_remaining", tier["trades_per_day"] if tier else None) == 0:
        reasons.add("no_trades_remaining")
    basis_name = user.get("risk_basis", "balance")
    basis = user.get(f"account_{basis_name}")
    if basis is None:
        reasons.add(f"no_{basis_name}")
    else:
        mission["balance_confirmed_at"] = moment(user["balance_confirmed_at"])
        if now - user["balance_confirmed_at"] > BALANCE_AGE_MAX:
            reasons.add("stale_balance")
    in_debt = [name for name in ("balance", "equity") if user.get(f"account_{name}", 0) < 0]
    reasons.update(f"negative_{name}" for name in in_debt)
    risk = user.get("risk_percent", tier["risk_percent"] if tier else None)
    mission["risk_percent"] = risk
    mission["risk_budget"] = None
    if risk is None:
        reasons.add("no_risk_percent")
    elif risk == 0:
        reasons.add("zero_risk")
    if basis is not None and risk is not None:
        budget = max(basis, Fraction(0)) * risk / 100
        mission["risk_budget"] = cut(budget)

    # The market.
    if instrument is None:
        reasons.add("unknown_symbol")
        return finish(mission, reasons)
    converted = conversion(rates, instrument, entry, mission["account_currency"])
    if converted is None:
        reasons.add("no_conversion_rate")
        return finish(mission, reasons)
    rate, mission["conversion_path"] = converted
    mission["conversion_rate"] = rounded(rate)
    is_stored = instrument.get("base") != mission["account_currency"] or entry is None
    if is_stored and mission["conversion_path"]:
        confirmed_at = min(rates[pair]["updated_at"] for pair in mission["conversion_path"])
        mission["rates_confirmed_at"] = moment(confirmed_at)
        if now - confirmed_at > RATE_AGE_MAX:
            reasons.add("stale_rate")
    if mission["risk_budget"] is None or "unknown_tier" in reasons:
        return finish(mission, reasons)

    # The size.
    step = instrument["lot_step"]
    least = math.ceil(instrument["min_lot"] / step) * step
    lot_value = instrument["contract_size"] * rate
    loss = stop["distance"] * lot_value
    most = instrument["max_lot"]
    cap = min(most, tier["max_lots"]) if tier else most
    limits = [(budget / loss, "risk"), (cap, "tier" if cap < most else "instrument")]
    leverage = user.get("leverage", tier.get("leverage") if tier else None)
    parts = [1 / leverage] if leverage else []
    if "margin_percent" in instrument:
        parts.append(instrument["margin_percent"] / 100)
    margin = entry * lot_value * max(parts) if parts and entry is not None else None
    free = next((user[name] for name in ("free_margin", "account_equity", "account_balance") if name in user), None)
    if margin and free is not None:
        limits.insert(1, (max(free, Fraction(0)) / margin, "margin"))
    lots, mission["limited_by"] = min(((steps(lots, step) * step, name) for lots, name in limits), key=lambda it: it[0])
    if lots < least or in_debt:
        lots = Fraction(0)
    mission["lots_raw"] = cut(budget / loss)
    mission["lots"] = lots
    mission["risk_amount"] = cut(lots * loss)
    mission["margin_required"] = known(margin, lambda margin: raised(lots * margin))
    for part, target, row in zip(split(lots, [target["share"] for target in targets], step), targets, shown):
        row["lots"] = part
        row["reward_amount"] = cut(part * target["distance"] * lot_value)
    if shown:
        mission["reward_amount"] = sum(row["reward_amount"] for row in shown)

    # What would do.
    is_capped = steps(cap, step) * step < least
    if budget / loss < least or is_capped:
        if risk > 0:
            reasons.add("below_minimum_lot")
        if risk > 0 and not is_capped:
            mission["minimum_balance"] = raised(least * loss * 100 / risk)
    if margin and free is not None and max(free, Fraction(0)) / margin < least:
        reasons.add("insufficient_margin")
        mission["minimum_margin"] = raised(least * margin)
    # An account that holds more than a number can not be named.
    for name in ("minimum_balance", "minimum_margin"):
        if mission.get(name, 0) > LARGEST:
            del mission[name]
    return finish(mission, reasons)


def finish(mission, reasons):
    mission["reasons"] = [reason for reason in REASONS if reason in reasons]
    mission["tradable"] = not reasons
    return mission


# Random markets.


def tables(paths):
    """The tables as the server reads them, with exact numbers, by name and alias."""
    entries = {}
    for path in paths.split(","):
        with open(path, "rb") as file:
            for name, entry in tomllib.load(file).items():
                if isinstance(entry, dict):
                    entries[name] = {
                        key: Fraction(value) if key not in ("base", "quote", "aliases") else value
                        for key, value in entry.items()
                        if isinstance(value, (int, str, list)) and is_read(key)
                    } | {"name": name}
    for entry in list(entries.values()):
        for alias in entry.get("aliases", []):
            entries.setdefault(alias, entry)
    return entries


def is_read(key):
    return key in """base quote contract_size pip min_lot lot_step max_lot margin_percent aliases
        risk_percent min_confidence max_lots trades_per_day leverage""".split()


def decimal(dice, least, most, decimals):
    scale = 10**decimals
    return Fraction(dice.randint(math.ceil(least * scale), math.floor(most * scale)), scale)


def any_price(dice, quote):
    """About what the market asks, or nearly anything."""
    if dice.random() < 0.2:
        return decimal(dice, Fraction(1, 100), 5000, dice.choice([0, 3, 5, 8]))
    return {"JPY": decimal(dice, 80, 200, 3), "HUF": decimal(dice, 200, 400, 2)}.get(quote, decimal(dice, Fraction(1, 2), 2, 5))


def any_targets(dice, price_at, any_pips):
    count = dice.choice([1, 2, 3, 3, 4, 10])
    items = [
        {"price": price_at()} if price_at and dice.random() < 0.6 else {"pips": any_pips()} for _ in range(count)
    ]
    kind = dice.random()
    if kind < 0.5:
        weights = [dice.randint(1, 10**6) for _ in items]
        whole = sum(weights) * dice.choice([1, 1, Fraction(5, 4)])
        for item, weight in zip(items, weights):
            item["share"] = max(UNIT, cut(Fraction(100 * weight) / whole))
    elif kind < 0.75:
        items = [item["price"] if "price" in item else item for item in items]
    return items


def any_signal(dice, number, instruments, now):
    odd = ["EURUSD", "THIRDS", "TENTHS", "WHOLE", "TETHER"]
    symbol = dice.choice(["NOSUCH", *instruments] if dice.random() < 0.6 else odd)
    instrument = instruments.get(symbol, instruments["EURUSD"])
    # As a broker has it.
    symbol += dice.choice(["", "", "", ".m", "m", "+", ".PRO", ".x"])
    symbol = symbol.lower() if dice.random() < 0.1 else symbol
    signal = {"signal_id": f"S{number}", "symbol": symbol, "direction": dice.choice(["BUY", "SELL"])}
    winning = 1 if signal["direction"] == "BUY" else -1
    entry = any_price(dice, instrument["quote"])
    near = min(entry / 2, 200 * instrument["pip"])

    def distance(most):
        return max(UNIT, decimal(dice, 0, most, 8) if dice.random() < 0.2 else cut(decimal(dice, 0, most, 5)))

    def any_pips():
        return decimal(dice, Fraction(1, 10), 300, dice.choice([0, 1, 5]))

    def price_at():
        return entry + winning * min(distance(3 * near), entry / 2 // UNIT * UNIT)

    in_pips = dice.random() < 0.25
    if in_pips:
        signal["stop_pips"] = any_pips()
        if dice.random() < 0.7:
            signal["entry_price"] = entry
    else:
        signal["entry_price"] = entry
        signal["stop_loss"] = entry - winning * min(distance(near), entry / 2 // UNIT * UNIT)
    kind = dice.random()
    if kind < 0.6:
        signal["take_profits"] = any_targets(dice, price_at if "entry_price" in signal else None, any_pips)
    elif kind < 0.9:
        signal.update({"target_pips": any_pips()} if in_pips else {"take_profit": price_at()})
    if dice.random() < 0.5:
        signal["confidence"] = decimal(dice, 0, 100, 1)
    if dice.random() < 0.1:
        signal["status"] = dice.choice(["active", "cancelled", "closed"])
    signal["created_at"] = now + (HOUR if dice.random() < 0.05 else -HOUR)
    signal["expires_at"] = now - 60 if dice.random() < 0.1 and signal["created_at"] < now else FAR
    return signal


def any_user(dice, number, tiers, currencies, now):
    user = {"user_id": f"U{number}", "balance_confirmed_at": now - dice.choice([0, 1, 12, 23, 25, 1000]) * HOUR}
    amount = lambda: decimal(dice, -100 if dice.random() < 0.1 else 0, 10 ** dice.randint(1, 6), dice.choice([0, 2, 8]))
    choices = {
        "tier": (0.6, lambda: dice.choice([*tiers, "NOSUCH"])),
        "risk_percent": (0.85, lambda: decimal(dice, 0, dice.choice([3, 3, 100]), dice.choice([0, 1, 8]))),
        "risk_basis": (0.3, lambda: dice.choice(["balance", "equity"])),
        "account_balance": (0.95, amount),
        "account_equity": (0.4, amount),
        "free_margin": (0.3, amount),
        "leverage": (0.5, lambda: Fraction(dice.choice([1, 2, 30, 100, 500, Fraction("33.3")]))),
        "account_currency": (0.7, lambda: dice.choice(currencies)),
        "trades_remaining": (0.2, lambda: Fraction(dice.randint(0, 3))),
    }
    user.update({name: make() for name, (chance, make) in choices.items() if dice.random() < chance})
    return user


def text(value):
    """JSON with plain decimals: at most eight decimals, so that the server takes each number as it is."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(text(item) for item in value) + "]"
    if isinstance(value, Fraction):
        units = value / UNIT
        assert units.denominator == 1, value
        sign, units = "-" if units < 0 else "", abs(units.numerator)
        return f"{sign}{units // 10**8}.{units % 10**8:08d}"
    return json.dumps(value)


# The comparison.


class Server:
    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body and text(body), {"content-type": "application/json"} if body else {})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            sys.exit(f"{method} {path} {body and text(body)}: {answer.status} {content.decode()}")
        return json.loads(content, parse_float=Fraction, parse_int=Fraction) if content else None


def differences(found, wanted, place=""):
    """The places at which two values differ."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in sorted(found.keys() | wanted.keys()):
            yield from differences(found.get(name, "absent"), wanted.get(name, "absent"), f"{place}/{name}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for at, (one, other) in enumerate(zip(found, wanted)):
            yield from differences(one, other, f"{place}/{at}")
    elif found != wanted or isinstance(found, bool) != isinstance(wanted, bool):
        yield place, found, wanted


def main(address, cases, instrument_paths, tier_paths):
    dice = random.Random(20260131)
    server = Server(address)
    instruments, tiers = tables(instrument_paths), tables(tier_paths)
    currencies = ["USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "SEK", "USDT", "HUF"]
    pairs = [pair_name(one, other) for one in currencies for other in currencies if one != other]
    dice.shuffle(pairs)
    rates, seen, compared, wrong = {}, Counter(), 0, 0
    for number in range(math.ceil(int(cases) / 100)):
        now = int(time.time())
        # The first rounds have few rates; each round brings some, and changes others.
        for pair in pairs[number * 4 : number * 4 + 4] + dice.sample(list(rates), min(len(rates), 3)):
            age = dice.choice([0, 1, 80, 167, 169, 1000]) * HOUR
            rates[pair] = {"price": any_price(dice, pair[3:] if len(pair) == 6 else ""), "updated_at": now - age}
            server.ask("PUT", f"/v1/rates/{pair}", rates[pair])
        ids = range(number * 10, number * 10 + 10)
        signals = [any_signal(dice, at, instruments, now) for at in ids]
        users = [any_user(dice, at, tiers, currencies, now) for at in ids]
        for signal in signals:
            server.ask("PUT", f"/v1/signals/{signal['signal_id']}", signal)
        for user in users:
            server.ask("PUT", f"/v1/users/{user['user_id']}/overlay", user)
        for signal in signals:
            for user in users:
                path = f"/{signal['signal_id']}"
                outcome = dice.choice(["fired", "failed", "closed"]) if dice.random() < 0.05 else None
                if outcome:
                    server.ask("PUT", f"/v1/users/{user['user_id']}/outcomes{path}", {"status": outcome})
                view = server.ask("GET", f"/v1/users/{user['user_id']}/missions{path}")
                found = view["mission"]
                wanted = expected(signal, user, outcome, (instruments, tiers, rates), now)
                # Only the clock decides the seconds: those of a signal that is expired are 0.
                seconds = found.pop("seconds_remaining")
                if (seconds == 0) != (signal["expires_at"] != FAR):
                    wanted["seconds_remaining"] = "others"
                compared += 1
                seen.update(wanted["reasons"] or ["tradable"])
                seen[f"limited by {wanted['limited_by']}"] += 1
                seen[f"{len(wanted['conversion_path'] or '')} rates"] += wanted["conversion_path"] is not None
                seen["several targets"] += len(wanted["targets"]) > 1
                faults = list(differences(found, wanted))
                wrong += bool(faults)
                for place, one, other in faults if wrong <= 10 else []:
                    print(f"{place}: found {one}, expected {other}\n  {text(signal)}\n  {text(user)}\n  {text(rates)}")
    print(f"{compared} missions compared, {wrong} differ")
    print(", ".join(f"{name}: {count}" for name, count in sorted(seen.items())))
    sys.exit(1 if wrong else 0)


main(*sys.argv[1:])

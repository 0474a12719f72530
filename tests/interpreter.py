"""A plain interpreter of conditions and campaigns as JSON: the generated code's oracle.

It walks what the operator wrote, shares no code with rules/, and is slow on purpose.
A world is a dict: data, metadata, action, user (the profile as JSON), counts, members.
"""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

SYNONYMS = {"=": "equals", "==": "equals", "!=": "not_equals"} | {
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
}
OPPOSITES = {
    "not_equals": "equals",
    "not_in": "in",
    "not_contains": "contains",
    "not_exists": "exists",
}


def verdict(conditions, world):
    """Return whether conditions of any form hold."""
    if conditions is None:
        return True
    if isinstance(conditions, list):
        return all(item_holds(item, world) for item in conditions)
    if "field" in conditions and "operator" in conditions:
        return leaf_holds(conditions, world)
    return object_holds(conditions, world)


def item_holds(item, world):
    if "field" in item or "operator" in item:
        return leaf_holds(item, world)
    return object_holds(item, world)


def object_holds(item, world):
    if "all" in item:
        return all(item_holds(part, world) for part in item["all"])
    if "any" in item:
        return any(item_holds(part, world) for part in item["any"])
    if "not" in item:
        return not item_holds(item["not"], world)
    return all(short_holds(field, value, world) for field, value in item.items())


def short_holds(field, value, world):
    operator = "equals"
    if isinstance(value, list):
        operator = "in"
    if isinstance(value, dict) and ("min" in value or "max" in value):
        operator = "between"
    return leaf_holds({"field": field, "operator": operator, "value": value}, world)


def leaf_holds(leaf, world):
    operator = SYNONYMS.get(leaf["operator"], leaf["operator"])
    actual = look_up(leaf["field"], world)
    expected = leaf.get("value")
    if operator in OPPOSITES:
        return not positive(OPPOSITES[operator], actual, expected)
    return positive(operator, actual, expected)


def positive(operator, actual, expected):
    if actual is None:
        return False
    if operator == "exists":
        return True
    if operator == "equals":
        return alike(actual, expected)
    if operator == "in":
        return any(alike(actual, one) for one in expected)
    if operator == "contains":
        return has(actual, expected)
    if operator == "between":
        low, high = ends_of(expected)
        return in_order(low, actual, "<=") and in_order(actual, high, "<=")
    if operator in ("<", "<=", ">", ">="):
        return in_order(actual, expected, operator)
    return isinstance(actual, str) and text_holds(operator, actual, expected)


def has(actual, expected):
    if isinstance(actual, list):
        wanted = expected if isinstance(expected, list) else [expected]
        return any(alike(one, two) for one in actual for two in wanted)
    both = isinstance(actual, str) and isinstance(expected, str)
    return both and actual.find(expected) >= 0


def text_holds(operator, actual, expected):
    pattern = {
        "starts_with": f"\\A{re.escape(expected)}",
        "ends_with": f"{re.escape(expected)}\\Z",
        "matches": expected,
    }[operator]
    if operator == "matches" and len(actual) > 1_024:
        return False
    return re.search(pattern, actual) is not None


OPEN = object()


def ends_of(expected):
    if isinstance(expected, list):
        return expected
    ends = (expected.get("min"), expected.get("max"))
    return [OPEN if end is None else end for end in ends]


def number_of(value):
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return Fraction(value)


def alike(one, two):
    if number_of(one) is not None and number_of(two) is not None:
        return number_of(one) == number_of(two)
    if type(one) is not type(two):
        return False
    if isinstance(one, list):
        return len(one) == len(two) and all(
            alike(a, b) for a, b in zip(one, two, strict=True)
        )
    if isinstance(one, dict):
        return set(one) == set(two) and all(alike(one[k], two[k]) for k in one)
    return one == two


def in_order(one, two, operator):
    if one is OPEN or two is OPEN:
        return True
    a, b = number_of(one), number_of(two)
    if isinstance(one, str) and isinstance(two, str):
        a, b = instant_of(one), instant_of(two)
    if a is None or b is None:
        return False
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]


def instant_of(text):
    """Return seconds since 1970 as an exact fraction, or None."""
    date = r"(?P<date>\d{4}-\d\d-\d\d)"
    time = r"(?P<time>\d\d:\d\d:\d\d)(?P<part>\.\d+)?"
    zone = r"(?P<zone>[zZ]|[+-]([01]\d|2[0-3]):[0-5]\d)"
    found = re.fullmatch(f"{date}([tT]{time}{zone})?", text, re.ASCII)
    if not found:
        return None
    try:
        moment = datetime.fromisoformat(
            f"{found['date']}T{found['time'] or '00:00:00'}"
        )
    except ValueError:
        return None
    seconds = Fraction((moment - datetime(1970, 1, 1)) // timedelta(seconds=1))
    seconds += Fraction(f"0{found['part'] or '.0'}")
    zone = found["zone"] or "Z"
    if zone in "zZ":
        return seconds
    shift = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return seconds - shift if zone[0] == "+" else seconds + shift


def look_up(field, world):
    if field.startswith("user.counts."):
        return world["counts"].get(field[len("user.counts.") :], 0)
    names = field.split(".")
    here = world["data"]
    if len(names) > 1 and names[0] in ("metadata", "action", "user"):
        here = world[names.pop(0)]
    for name in names:
        if not isinstance(here, dict) or name not in here:
            return None
        here = here[name]
    return here


def firing_order(campaigns, rules, world, occurred_ms):
    """Return (campaign id, rule id or None) of everything that fires, in order.

    Campaigns and rules are rows as JSON; `world["members"]` maps segment ids to whether
    the user is in them. Nothing that fires changes the world.
    """
    fired = []
    for campaign in sorted(campaigns, key=place_of("campaign_id")):
        if not sees(campaign, world, occurred_ms):
            continue
        if campaign["triggers"]:
            if any(triggered(trigger, world) for trigger in campaign["triggers"]):
                fired.append((campaign["campaign_id"], None))
            continue
        own = [r for r in rules if r["campaign_id"] == campaign["campaign_id"]]
        for rule in sorted(own, key=place_of("rule_id")):
            if rule["enabled"] and triggered(rule, world):
                fired.append((campaign["campaign_id"], rule["rule_id"]))
    return fired


def place_of(id_name):
    return lambda row: (-row["priority"], row["created_at_ms"], row[id_name])


def sees(campaign, world, occurred_ms):
    if campaign["status"] != "active":
        return False
    start, end = campaign["start_ms"], campaign["end_ms"]
    if start is not None and occurred_ms < start:
        return False
    if end is not None and occurred_ms > end:
        return False
    segments = campaign["segment_ids"]
    if segments and not any(world["members"].get(s, False) for s in segments):
        return False
    return verdict(campaign["conditions"], world)


def triggered(trigger, world):
    pattern = next(
        trigger[k] for k in ("eventType", "triggerType", "trigger") if k in trigger
    )
    action_type = world["action"]["type"]
    if pattern == "*":
        matches = True
    elif pattern.endswith(".*"):
        matches = action_type.startswith(pattern[:-1])
    else:
        matches = pattern == action_type
    return matches and verdict(trigger.get("conditions"), world)

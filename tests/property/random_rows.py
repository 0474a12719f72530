"""Config rows, payloads and times at random, dense enough that they meet.

Everything is drawn from a `random.Random`. What a condition compares with lies near
what users of a test come to have: tens of points, a few actions, days around START_MS.
"""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

DAY_MS = 86_400_000
START_MS = 1_742_990_400_000  # 2025-03-26T12:00:00Z, days before Europe's clocks change
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

TYPES = ("purchase", "purchase", "login", "user.login", "user.", "user.x.y")
PATTERNS = ("*", "*", "purchase", "login", "user.*", "user.login")
CAMPAIGNS = ("camp_1", "camp_2", "camp_3", "camp_4", "camp_5")
RULES = ("rule_1", "rule_2", "rule_3")
SEGMENTS = ("seg_1", "seg_2", "seg_3", "seg_4")
BADGES = ("red", "blue", "gold")
ZONES = (None, "UTC", "Europe/London", "America/New_York", "Asia/Kolkata")
PERIODS = ("day", "day", "week", "month", "ever")
TIERS = (
    (("bronze", 0), ("silver", 20), ("gold", 60), ("platinum", 200)),
    (("seed", 0), ("silver", 5), ("tree", 100)),
    (("only", 0),),
)
NUMBERS = [0, 1, 2, 3, 5, 10, 30, 60, -3]
NUMBERS += [Decimal(text) for text in ("5.0", "4.5", "0.5", "2.5", "1E+1", "-0.5")]
NUMBERS += [Decimal("22.200000000000003"), Decimal("0.29")]
WORDS = ("red", "blue", "gold", "silver", "tree", "5", "", "user", "purchase", "ann")
ODD = (True, False, [1, 2], ["red", True], {"k": 1}, [[1], {"k": Decimal("1.0")}], [])

NUMERIC = "points xp lifetime.points counts.login counts.purchase customFields.level"
TEXTUAL = "tier tier displayName customFields.team userId"
TEXT_OPERATORS = ("in", "not_in", "==", "!=", "starts_with", "matches", "contains")
INSTANTS = "createdAt updatedAt lastActionAt"


def likely(rng, probability):
    return rng.random() < probability


def number(rng):
    return rng.choice(NUMBERS)


def value(rng):
    return rng.choice([rng.choice(NUMBERS), rng.choice(WORDS), rng.choice(ODD)])


def instant(rng):
    """Return the text of an instant near the beginning, in one of its spellings."""
    moment = EPOCH + timedelta(milliseconds=START_MS)
    moment += timedelta(days=rng.randrange(-2, 30), milliseconds=rng.randrange(2))
    if likely(rng, 0.2):
        return moment.date().isoformat()
    zone = timezone(timedelta(hours=rng.choice([0, 0, 2, -5])))
    return moment.astimezone(zone).isoformat(timespec="milliseconds")


def leaf(rng, segment):
    """Return a condition on one field, mostly one that makes sense of it."""
    kinds = ["number", "number", "text", "list", "instant"]
    kind = rng.choice(kinds)
    prefix = "" if segment else "user."
    if kind == "number":
        field = prefix + rng.choice(NUMERIC.split())
        if not segment and likely(rng, 0.4):
            field = rng.choice(["amount", "x", "x.y", "metadata.level"])
        operator = rng.choice([">", ">=", "<", "lte", "equals", "!=", "between", "in"])
        wanted = number(rng)
        if operator == "between":
            wanted = sorted([number(rng), number(rng)])
        if operator == "in":
            wanted = [number(rng), number(rng), value(rng)]
    elif kind == "text":
        field = prefix + rng.choice(TEXTUAL.split())
        if not segment and likely(rng, 0.3):
            field = rng.choice(["x", "metadata.app", "action.type", "action.eventId"])
        operator = rng.choice(TEXT_OPERATORS)
        wanted = rng.choice(WORDS)
        if operator in ("in", "not_in"):
            wanted = [rng.choice(WORDS), rng.choice(WORDS)]
        if operator == "matches":
            wanted = rng.choice(["^s", "e$", "[rl]", "^$"])
    elif kind == "list":
        lists = ["badges"] if segment else ["badges", "benefits"]
        field = prefix + rng.choice(lists)
        operator = rng.choice(["contains", "contains", "not_contains", "equals"])
        wanted = rng.choice([*BADGES, "lounge", ["red", "lounge"], []])
    else:
        field = prefix + rng.choice(INSTANTS.split())
        if not segment and likely(rng, 0.3):
            field = "action.occurredAt"
        operator = rng.choice([">", ">=", "<", "<=", "equals"])
        wanted = instant(rng)
    if likely(rng, 0.1):
        operator = rng.choice(["exists", "not_exists"])
        return {"field": field, "operator": operator}
    if likely(rng, 0.1):
        operator = rng.choice(["==", "not_equals", "contains", "not_contains"])
        wanted = value(rng)
    return {"field": field, "operator": operator, "value": wanted}


def criterion(rng, segment, depth=0):
    if depth < 3 and likely(rng, 0.15):
        word = rng.choice(["all", "any", "not"])
        if word == "not":
            return {"not": criterion(rng, segment, depth + 1)}
        return {word: [criterion(rng, segment, depth + 1) for _ in range(2)]}
    if likely(rng, 0.2):
        return plain_object(rng, segment)
    return leaf(rng, segment)


def plain_object(rng, segment):
    """Return the object form: equality, range or membership."""
    prefix = "" if segment else "user."
    field = prefix + rng.choice(["points", "tier", "counts.login", "badges"])
    low, high = sorted([number(rng), number(rng)])
    wanted = [rng.choice(WORDS), number(rng), {"min": low}, {"min": low, "max": high}]
    wanted += [{"max": high}, [rng.choice(WORDS), low]]
    return {field: rng.choice(wanted)} if likely(rng, 0.95) else {}


def conditions(rng, probability):
    if not likely(rng, probability):
        return rng.choice([None, {}, []])
    if likely(rng, 0.3):
        return criterion(rng, segment=False)
    return [criterion(rng, segment=False) for _ in range(rng.choice([1, 1, 2]))]


def amount(rng):
    if likely(rng, 0.5):
        return rng.choice([1, 7, 30])
    fields = ("amount", "amount", "x", "metadata.app", "user.points")
    formula = {"field": rng.choice([*fields, "user.counts.login"])}
    options = {
        "multiply": [1, 2, Decimal("1.5"), Decimal("0.1"), 10**8],
        "round": ["floor", "ceil", "nearest"],
        "min": [-5, 0, 3],
        "max": [5, 500],
    }
    for name, choices in options.items():
        if likely(rng, 0.4):
            formula[name] = rng.choice(choices)
    return formula


def effect(rng):
    kinds = (
        "add_points add_points award_points add_xp add_coins deduct_points add_badge"
    )
    kinds += " deduct_xp add_badge unlock_benefit send_notification set_custom_field"
    kind = rng.choice(kinds.split())
    if kind.endswith(("points", "xp", "coins")):
        config = {"amount": amount(rng), "reason": rng.choice([None, "because"])}
        if not kind.startswith("deduct") and likely(rng, 0.5):
            config["expiresInDays"] = rng.choice([1, 2, 7])
    elif kind == "add_badge":
        config = {"badgeId": rng.choice(BADGES)}
    elif kind == "unlock_benefit":
        config = {"benefitId": rng.choice(["lounge", "queue"])}
        if likely(rng, 0.7):
            config["expiresInDays"] = rng.choice([1, 2, 30])
    elif kind == "send_notification":
        config = {"title": "Hello", "message": "You", "data": {"n": 1}}
    else:
        held = [None, 1, 5, Decimal("1.0"), True, "red", "gold", {"k": 5}]
        config = {"field": rng.choice(["level", "team"]), "value": rng.choice(held)}
    shape = rng.choice(["config", "params", "flat"])
    return (
        {"type": kind, **config} if shape == "flat" else {"type": kind, shape: config}
    )


def limits(rng, probability):
    found = {}
    if likely(rng, probability):
        period = rng.choice(PERIODS)
        found["perUser"] = {"count": rng.choice([1, 2, 4]), "period": period}
    if likely(rng, probability):
        found["perUserAmount"] = {
            "currency": rng.choice(["points", "points", "xp"]),
            "amount": rng.choice([1, 10, 50]),
            "period": rng.choice(PERIODS),
        }
    return found or None


def campaign(rng, campaign_id, version, *, advanced=False):
    row = {
        "campaign_id": campaign_id,
        "name": campaign_id,
        "type": "Reward",
        "mode": "always-on",
        "status": rng.choice(["active"] * 12 + ["draft", "paused"]),
        "simplified_mode": not advanced,
        "conditions": conditions(rng, 0.2),
        "limits": limits(rng, 0.3),
        "priority": rng.choice([4, 5, 6]),
        "segment_ids": rng.sample(SEGMENTS, rng.choice([0, 0, 1, 1, 2])),
        "version": version,
        "created_at_ms": rng.choice([1, 2]),
        "updated_at_ms": version,
    }
    if not advanced:
        row["triggers"] = [trigger(rng) for _ in range(rng.choice([1, 1, 2, 3]))]
        row["effects"] = [effect(rng) for _ in range(rng.choice([1, 2, 3]))]
    if likely(rng, 0.4):
        # Nothing but a segment in the way, so that effects of others open and close it.
        row |= {"conditions": None, "limits": None}
        row["segment_ids"] = rng.sample(SEGMENTS, 1)
    if likely(rng, 0.15):
        row["start_ms"] = START_MS + rng.randrange(-40, 3) * DAY_MS
        row["end_ms"] = START_MS + rng.randrange(3, 30) * DAY_MS
    elif likely(rng, 0.2):
        row["mode"] = "recurring"
        row["start_ms"] = START_MS - rng.randrange(1_000) * DAY_MS // 2
        unit = rng.choice(["day", "week", "month"])
        row["recurrence"] = {"unit": unit, "every": rng.choice([1, 2])}
        if likely(rng, 0.4):
            row["recurrence"]["windowDays"] = 1
        if likely(rng, 0.5):
            row["limits"] = {"perUser": {"count": 1, "period": "ever"}}
    return row


def trigger(rng):
    key = rng.choice(["eventType", "triggerType", "trigger"])
    return {key: rng.choice(PATTERNS), "conditions": conditions(rng, 0.25)}


def rule(rng, rule_id, campaign_id, version):
    return {
        "rule_id": rule_id,
        "campaign_id": campaign_id,
        "name": "A rule",
        "trigger": rng.choice(PATTERNS),
        "conditions": conditions(rng, 0.3),
        "effects": [effect(rng) for _ in range(rng.choice([1, 1, 2]))],
        "limits": limits(rng, 0.3),
        "priority": rng.choice([4, 5]),
        "enabled": likely(rng, 0.9),
        "version": version,
        "created_at_ms": rng.choice([1, 2]),
        "updated_at_ms": version,
    }


def segment_row(segment_id):
    times = {"created_at_ms": 1, "updated_at_ms": 1}
    return {"segment_id": segment_id, "name": segment_id, **times}


def simple_segment(rng, segment_id):
    criteria = [simple_criterion(rng)]
    return {**segment_row(segment_id), "type": "dynamic", "criteria": criteria}


def segment(rng, segment_id):
    row = segment_row(segment_id)
    if likely(rng, 0.1):
        user_ids = rng.choice([[], ["ann"], ["ann", "bob"]])
        return {**row, "type": "static", "user_ids": user_ids}
    if likely(rng, 0.5):
        return simple_segment(rng, segment_id)
    count = rng.choice([1, 1, 1, 2])
    return {
        **row,
        "type": "dynamic",
        "criteria": [criterion(rng, segment=True) for _ in range(count)],
        "exclude_criteria": [
            criterion(rng, segment=True) for _ in range(rng.choice([0, 0, 0, 1, 2]))
        ],
    }


def simple_criterion(rng):
    """Return a criterion that what campaigns do makes true or false."""
    field = rng.choice([*NUMERIC.split(), "badges", "tier", "team", "updatedAt"])
    operator, wanted = rng.choice([">=", "<"]), rng.choice([1, 2, 5, 10, 30])
    if field == "badges":
        operator, wanted = rng.choice(["contains", "not_contains"]), rng.choice(BADGES)
    elif field == "tier":
        operator = rng.choice(["in", "not_in"])
        wanted = rng.choice([["silver", "gold"], ["bronze", "seed"], ["tree"]])
    elif field == "team":
        field, operator = "customFields.team", rng.choice(["==", "!="])
        wanted = rng.choice(["red", "gold"])
    elif field == "updatedAt":
        wanted = instant(rng)
    return {"field": field, "operator": operator, "value": wanted}


def settings(rng):
    tiers = rng.choice(TIERS)
    return {
        "name": "acme",
        "dedupe_horizon_ms": rng.choice([1, 7]) * DAY_MS,
        "late_horizon_ms": rng.choice([None, None, None, None, 30 * DAY_MS]),
        "future_tolerance_ms": rng.choice([300_000, 0]),
        "timezone": rng.choice(ZONES),
        "tiers": [{"name": name, "threshold": least} for name, least in tiers],
        "created_at_ms": 1,
    }


def payload(rng):
    if likely(rng, 0.6):
        return {"amount": rng.choice([1, 5, 10, Decimal("4.5"), Decimal("0.5")])}
    odd = [
        {"amount": value(rng), "x": value(rng)},
        {"amount": number(rng), "x": {"y": value(rng)}, "app": 5, "level": 5},
        {"x.y": 5, "amount": None, "app": "red"},
        {"n": [{"n": [{"n": [{"n": [{"n": [{"n": [{"n": [1]}]}]}]}]}]}]},
        {"big": 10**30, "small": Decimal("1E-30"), "zero": Decimal("0E+99")},
    ]
    return rng.choice(odd)


BAD_PAYLOADS = (
    {"amount": Decimal("1." + "3" * 34)},
    {"amount": 10**30 + 1},
    {"a": {"b": [Decimal("1E-31")]}},
    {"n": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]},
    {"long": "x" * 33_000},
)
BAD_TYPES = ("badge.awarded", "a,b", "", "x" * 129, "tab\t", "\u00e9" * 65, "\u0085")


def profile_update(rng):
    if likely(rng, 0.2):
        bad = [{}, {"points": 5}, {"displayName": 5}, {"customFields": {"a b": 1}}]
        bad += [{"preferences": {"timezone": zone}} for zone in ("Mars/Olympus", 5)]
        return rng.choice(bad)
    body = {}
    if likely(rng, 0.3):
        body["displayName"] = rng.choice(["Ann", "red", None])
    if likely(rng, 0.5):
        body["preferences"] = {"timezone": rng.choice(ZONES), "news": value(rng)}
    if likely(rng, 0.4) or not body:
        fields = {"level": rng.choice([None, number(rng)]), "x": value(rng)}
        fields["team"] = rng.choice([None, "red", "gold"])
        names = rng.sample(sorted(fields), rng.choice([1, 2]))
        body["customFields"] = {name: fields[name] for name in names}
    return body


def wait_ms(rng):
    """Return how long until the next message; clocks may also run back a little."""
    if likely(rng, 0.6):
        return rng.choice([0, 0, 1, 1_000, 60_000])
    if likely(rng, 0.9):
        days = rng.choice([1, 1, 2, 7])
        return days * DAY_MS + rng.choice([0, 0, -1, 1, -DAY_MS // 2])
    return rng.choice([-60_000, 31 * DAY_MS, 365 * DAY_MS, 401 * DAY_MS])


def age_ms(rng):
    """Return how old an action is when it is heard of, None: it does not say."""
    if likely(rng, 0.5):
        return None
    if likely(rng, 0.6):
        return rng.choice([0, 1, DAY_MS, 2 * DAY_MS, 7 * DAY_MS, 30 * DAY_MS])
    if likely(rng, 0.5):
        return rng.choice([399, 400, 400, 401]) * DAY_MS
    edges = [-1, -300_000, -300_001, -DAY_MS, 30 * DAY_MS + 1, 90 * DAY_MS]
    return rng.choice([*edges, 3_000 * DAY_MS, 30_000 * DAY_MS])

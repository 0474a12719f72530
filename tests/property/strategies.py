"""Random config rows, payloads and times that the engine must take in its stride."""

from decimal import Decimal

from hypothesis import strategies as st

DAY_MS = 86_400_000
START_MS = 1_742_990_400_000  # 2025-03-26T12:00:00Z, days before Europe's clocks change

TYPES = ("purchase", "login", "user.login", "user.", "user.x.y")
BADGES = ("red", "blue", "gold")
SEGMENTS = ("seg_1", "seg_2", "seg_3")
ZONES = (None, "UTC", "Europe/London", "America/New_York", "Asia/Kolkata")
TIERS = (
    [("bronze", 0), ("silver", 20), ("gold", 60), ("platinum", 200)],
    [("seed", 0), ("silver", 5), ("tree", 100)],
    [("only", 0)],
)

numbers = st.sampled_from([0, 1, 2, 5, 10, 60, -3, 10**9 + 1]) | st.sampled_from(
    ["5.0", "4.5", "0.29", "22.200000000000003", "1E+2", "-0.5"]
).map(Decimal)
INSTANTS = (
    "2025-03-20",
    "2025-03-26T12:00:00Z",
    "2025-03-26T14:00:00.5+01:00",
    "2025-03-27",
)
instants = st.sampled_from(INSTANTS)
words = st.sampled_from(["a", "red", "5", "gold", "silver", "blue", "true", "", "user"])
scalars = st.one_of(numbers, words, instants, st.booleans())
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.just({"k": 1}),
    st.just([[1], {"k": Decimal("1.0")}]),
)

ACTION_FIELDS = [
    "amount",
    "x",
    "x.y",
    "metadata.app",
    "metadata.deep.er",
    "action.type",
    "action.occurredAt",
    "action.eventId",
    "action.userId",
    "user.userId",
    "user.points",
    "user.xp",
    "user.tier",
    "user.lifetime.points",
    "user.badges",
    "user.benefits",
    "user.counts.login",
    "user.counts.user.login",
    "user.customFields.level",
    "user.customFields.level.k",
    "user.preferences.news",
    "user.displayName",
    "user.createdAt",
    "user.updatedAt",
    "user.lastActionAt",
    "user.email",
]
SEGMENT_FIELDS = [
    "tier",
    "points",
    "xp",
    "coins",
    "lifetime.points",
    "lifetime.xp",
    "badges",
    "counts.login",
    "counts.user.login",
    "customFields.level",
    "preferences.news",
    "displayName",
    "createdAt",
    "updatedAt",
    "lastActionAt",
    "userId",
]


def ranges(ends):
    """Two ends in order, compared as the values that they stand for."""
    order = {text: place for place, text in enumerate(INSTANTS)}
    return st.tuples(ends, ends).map(
        lambda pair: sorted(pair, key=lambda end: order.get(end, end))
    )


@st.composite
def leaves(draw, fields):
    field = draw(st.sampled_from(fields))
    operators = {
        "equals": values,
        "==": values,
        "not_equals": values,
        "!=": values,
        ">": st.one_of(numbers, instants),
        ">=": st.one_of(numbers, instants),
        "lt": st.one_of(numbers, instants),
        "<=": st.one_of(numbers, instants),
        "between": st.one_of(ranges(numbers), ranges(instants)),
        "in": st.lists(values, max_size=3),
        "not_in": st.lists(values, max_size=3),
        "contains": values,
        "not_contains": values,
        "starts_with": words,
        "ends_with": words,
        "matches": st.sampled_from(["^r", "a|d$", "e", "[0-9]+$", "^$"]),
    }
    operator = draw(st.sampled_from([*operators, "exists", "not_exists"]))
    leaf = {"field": field, "operator": operator}
    if operator in operators:
        leaf["value"] = draw(operators[operator])
    return leaf


def plain_objects(fields):
    bounds = st.one_of(ranges(numbers), ranges(instants))
    wanted = st.one_of(
        scalars,
        st.lists(scalars, min_size=1, max_size=3),
        bounds.map(lambda ends: {"min": ends[0], "max": ends[1]}),
        numbers.map(lambda low: {"min": low}),
    )
    return st.dictionaries(st.sampled_from(fields), wanted, max_size=2)


def conditions(fields):
    items = st.recursive(
        st.one_of(leaves(fields), plain_objects(fields)),
        lambda inner: st.one_of(
            st.fixed_dictionaries({"not": inner}),
            st.fixed_dictionaries({"all": st.lists(inner, max_size=2)}),
            st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)}),
        ),
        max_leaves=4,
    )
    return st.one_of(st.none(), items, st.lists(items, max_size=2))


def mostly(common, rare):
    return st.one_of(common, common, common, rare)


formulas = st.fixed_dictionaries(
    {
        "field": st.sampled_from(
            ["amount", "amount", "x", "metadata.app", "user.points"]
        )
    },
    optional={
        "multiply": st.sampled_from([1, 2, Decimal("1.5"), Decimal("0.1"), 10**8]),
        "round": st.sampled_from(["floor", "ceil", "nearest"]),
        "min": st.sampled_from([-5, 0, 3]),
        "max": st.sampled_from([5, 500]),
    },
)
amounts = st.one_of(st.sampled_from([1, 7, 30]), formulas)


@st.composite
def effects(draw):
    kind = draw(
        st.sampled_from(
            [
                "add_points",
                "add_points",
                "award_points",
                "add_xp",
                "award_coins",
                "deduct_points",
                "deduct_xp",
                "deduct_coins",
                "add_badge",
                "award_badge",
                "unlock_benefit",
                "send_notification",
                "set_custom_field",
            ]
        )
    )
    days = st.sampled_from([1, 2, 30])
    if kind.endswith(("points", "xp", "coins")):
        config = {"amount": draw(amounts)}
        if draw(st.booleans()):
            config["reason"] = "because"
        if not kind.startswith("deduct") and draw(st.booleans()):
            config["expiresInDays"] = draw(days)
    elif kind.endswith("badge"):
        config = {"badgeId": draw(st.sampled_from(BADGES))}
    elif kind == "unlock_benefit":
        config = {"benefitId": draw(st.sampled_from(["lounge", "queue"]))}
        if draw(st.booleans()):
            config["expiresInDays"] = draw(days)
    elif kind == "send_notification":
        config = {"title": "Hello", "message": "You", "data": {"n": 1}}
    else:
        value = st.sampled_from([None, 1, Decimal("1.0"), True, "red", {"k": 5}, 60])
        config = {"field": draw(st.sampled_from(["level", "team"]))}
        config["value"] = draw(value)
    shape = draw(st.sampled_from(["config", "params", "flat"]))
    return (
        {"type": kind, **config} if shape == "flat" else {"type": kind, shape: config}
    )


PERIODS = st.sampled_from(["day", "week", "month", "ever"])
limits = st.fixed_dictionaries(
    {},
    optional={
        "perUser": st.fixed_dictionaries(
            {"count": st.integers(1, 3), "period": PERIODS}
        ),
        "perUserAmount": st.fixed_dictionaries(
            {
                "currency": st.sampled_from(["points", "points", "xp", "coins"]),
                "amount": st.sampled_from([1, 10, 50]),
                "period": PERIODS,
            }
        ),
    },
)
patterns = st.sampled_from([*TYPES, *TYPES, "user.*", "*"])


@st.composite
def triggers(draw):
    key = draw(st.sampled_from(["eventType", "triggerType", "trigger"]))
    trigger = {key: draw(patterns)}
    wanted = draw(mostly(st.none(), conditions(ACTION_FIELDS)))
    return trigger if wanted is None else {**trigger, "conditions": wanted}


@st.composite
def campaigns(draw, campaign_id, version, advanced=False):
    row = {
        "campaign_id": campaign_id,
        "name": campaign_id,
        "type": "Reward",
        "mode": "always-on",
        "status": draw(
            st.sampled_from(["active"] * 9 + ["draft", "paused", "archived"])
        ),
        "simplified_mode": not advanced,
        "conditions": draw(mostly(st.none(), conditions(ACTION_FIELDS))),
        "limits": draw(mostly(limits, st.none())),
        "priority": draw(st.integers(4, 6)),
        "segment_ids": draw(
            mostly(st.just([]), st.lists(st.sampled_from(SEGMENTS), max_size=2))
        ),
        "version": version,
        "created_at_ms": draw(st.integers(1, 2)),
        "updated_at_ms": version,
    }
    if not advanced:
        row["triggers"] = draw(st.lists(triggers(), min_size=1, max_size=3))
        row["effects"] = draw(st.lists(effects(), min_size=1, max_size=4))
    if draw(st.integers(0, 3)) == 0:
        row["start_ms"] = START_MS + draw(st.integers(-40, 3)) * DAY_MS // 2
        row["end_ms"] = row["start_ms"] + draw(st.integers(0, 900)) * DAY_MS
    if draw(st.integers(0, 4)) == 0:
        row["mode"] = "recurring"
        row["start_ms"] = START_MS + draw(st.integers(-2000, 3)) * DAY_MS // 2
        unit = draw(st.sampled_from(["day", "week", "month"]))
        row["recurrence"] = {"unit": unit, "every": draw(st.integers(1, 3))}
        if draw(st.booleans()):
            row["recurrence"]["windowDays"] = 1
    return row


@st.composite
def rules(draw, rule_id, campaign_id, version):
    return {
        "rule_id": rule_id,
        "campaign_id": campaign_id,
        "name": rule_id,
        "trigger": draw(patterns),
        "conditions": draw(mostly(st.none(), conditions(ACTION_FIELDS))),
        "effects": draw(st.lists(effects(), min_size=1, max_size=3)),
        "limits": draw(mostly(st.none(), limits)),
        "priority": draw(st.integers(4, 6)),
        "enabled": draw(st.sampled_from([True] * 5 + [False])),
        "version": version,
        "created_at_ms": draw(st.integers(1, 2)),
        "updated_at_ms": version,
    }


@st.composite
def segments(draw, segment_id):
    items = st.lists(
        st.one_of(leaves(SEGMENT_FIELDS), plain_objects(SEGMENT_FIELDS)), max_size=2
    )
    row = {
        "segment_id": segment_id,
        "name": segment_id,
        "created_at_ms": 1,
        "updated_at_ms": 1,
    }
    if draw(st.integers(0, 3)) == 0:
        return {
            **row,
            "type": "static",
            "user_ids": draw(st.sampled_from([[], ["ann"]])),
        }
    return {
        **row,
        "type": "dynamic",
        "criteria": draw(items),
        "exclude_criteria": draw(mostly(st.just([]), items)),
    }


@st.composite
def settings(draw):
    tiers = draw(st.sampled_from(TIERS))
    return {
        "name": "acme",
        "dedupe_horizon_ms": draw(st.sampled_from([1, 7])) * DAY_MS,
        "late_horizon_ms": draw(st.sampled_from([None, None, None, 30 * DAY_MS])),
        "future_tolerance_ms": draw(st.sampled_from([300_000, 0])),
        "timezone": draw(st.sampled_from(ZONES)),
        "tiers": [{"name": name, "threshold": least} for name, least in tiers],
        "created_at_ms": 1,
    }


payloads = st.one_of(
    st.fixed_dictionaries(
        {"amount": numbers}, optional={"x": values, "app": st.just("ios")}
    ),
    st.fixed_dictionaries(
        {}, optional={"amount": values, "x": st.fixed_dictionaries({"y": values})}
    ),
    st.sampled_from(
        [
            {"deep": {"er": None}, "app": 5},
            {"x.y": 5, "amount": None},
            {"n": [{"n": [{"n": [{"n": [{"n": [{"n": [{"n": [1]}]}]}]}]}]}]},
            {"big": 10**30, "small": Decimal("1E-30"), "zero": Decimal("0E+99")},
        ]
    ),
)
bad_payloads = st.sampled_from(
    [
        {"amount": Decimal("1." + "3" * 34)},
        {"amount": 10**30 + 1},
        {"a": {"b": [Decimal("1E-31")]}},
        {"n": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]},
        {"long": "x" * 33_000},
    ]
)
bad_types = st.sampled_from(
    ["badge.awarded", "a,b", "", "x" * 129, "tab\t", "\u00e9" * 65, "\u0085"]
)
profile_updates = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "displayName": st.sampled_from(["Ann", "red", None]),
            "preferences": st.fixed_dictionaries(
                {},
                optional={
                    "timezone": st.sampled_from([*ZONES, "America/Los_Angeles"]),
                    "news": values,
                },
            ),
            "customFields": st.dictionaries(
                st.sampled_from(["level", "team", "x"]),
                st.one_of(values, st.none()),
                max_size=2,
            ),
        },
    ),
    st.sampled_from(
        [
            {"points": 5},
            {"preferences": {"timezone": "Mars/Olympus"}},
            {"preferences": {"timezone": 5}},
            {"customFields": {"level": 5, "no spaces": 1}},
            {"displayName": 5},
        ]
    ),
)
ages_ms = st.sampled_from(
    [0, 1, -1, -300_000, -300_001, -300_001, -DAY_MS]
    + [days * DAY_MS for days in (1, 2, 7, 29, 30, 31, 90, 399, 400, 401, 3000, 30_000)]
)
waits_ms = st.sampled_from(
    [0, 0, 1, 1000, 60_000, 3_600_000, -60_000, DAY_MS // 2]
    + [days * DAY_MS for days in (1, 2, 7, 31, 365, 401)]
)

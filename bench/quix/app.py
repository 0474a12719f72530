"""An ordinary Quix Streams app: a dataframe, a stateful function, a topic to send to.

It is written as the documentation of Quix Streams shows it: a function with its user's
state, applied with ``stateful=True`` and ``expand=True``, the state in RocksDB with a
changelog; default settings but for where it runs, where a new group begins and how long
its session is. It runs in an environment of its own (bench/quix/environment.py) and
shares its campaigns with the Faust app. Started by bench/kafka/ordinary.py.
"""

import json
import os
from pathlib import Path
from typing import Any

from quixstreams import Application, State

from bench.idiomatic.campaigns import by_event_type, rewards, tier_of

FOLDER = Path(os.environ["BENCH_FOLDER"])
RECENT_EVENTS = 50
NEWCOMER = {"points": 0, "xp": 0, "coins": 0, "tier": "bronze", "recent": []}

campaigns = by_event_type(json.loads((FOLDER / "campaigns.json").read_text()))
app = Application(
    broker_address=os.environ["BENCH_BROKER"],
    consumer_group="loyalty",
    auto_offset_reset="earliest",
    state_dir=FOLDER / "state",
    processing_guarantee=os.environ["BENCH_GUARANTEE"],
    consumer_extra_config={
        "session.timeout.ms": int(float(os.environ["BENCH_SESSION_S"]) * 1_000)
    },
    loglevel="WARNING",
)
actions = app.topic("actions", key_deserializer="str", value_deserializer="json")
ledger = app.topic("ledger", key_serializer="str", value_serializer="json")


def reward(action: dict[str, Any], state: State) -> list[dict[str, Any]]:
    """Return the ledger entries that an action earns, and keep what its user has."""
    user = state.get("user", default=NEWCOMER)
    if action["event_id"] in user["recent"]:
        return []
    balances = {currency: user[currency] for currency in ("points", "xp", "coins")}
    entries = []
    candidates = campaigns.get(action["type"], [])
    for campaign, currency, amount in rewards(
        candidates, action["type"], action["data"]
    ):
        balances[currency] += amount
        entries.append(
            {
                "user_id": action["user_id"],
                "event_id": action["event_id"],
                "campaign": campaign,
                "currency": currency,
                "amount": amount,
                "balance": balances[currency],
            }
        )
    recent = [*user["recent"], action["event_id"]][-RECENT_EVENTS:]
    tier = tier_of(balances["points"])
    state.set("user", {**balances, "tier": tier, "recent": recent})
    return entries


sdf = app.dataframe(actions)
sdf = sdf.apply(reward, stateful=True, expand=True)
sdf = sdf.to_topic(ledger)

if __name__ == "__main__":
    app.run()

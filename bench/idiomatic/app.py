"""An ordinary Faust app: an agent, a table, a topic to send to.

It is written as Faust's documentation shows it: `async for action in actions`, a table
written with ``table[key] = value`` and kept by its changelog in RocksDB, one
``topic.send`` for each ledger entry; default settings but for where it runs, its store
and no web server. Started by bench/idiomatic/rounds.py on Plaudit's embedded log and by
bench/kafka/ordinary.py on a broker; they also make its topics.
"""

import json
import os
from pathlib import Path

import faust

from bench.idiomatic.campaigns import by_event_type, rewards, tier_of
from bench.idiomatic.log import open_log

FOLDER = Path(os.environ["BENCH_FOLDER"])
BROKER = os.environ["BENCH_BROKER"]
RECENT_EVENTS = 50

app = faust.App(
    "loyalty",
    broker=BROKER,
    store="rocksdb://",
    datadir=str(FOLDER / "faust"),
    topic_partitions=int(os.environ["BENCH_PARTITIONS"]),
    broker_session_timeout=float(os.environ.get("BENCH_SESSION_S", "60")),
    web_enabled=False,
)
if BROKER.startswith("sqlite:"):
    # The transport is the one that Plaudit's worker reads from.
    app.message_log = open_log(FOLDER, checkpoints=True)


class Action(faust.Record):
    """What a user did."""

    user_id: str
    event_id: str
    type: str
    data: dict


class Entry(faust.Record):
    """A line of the ledger."""

    user_id: str
    event_id: str
    campaign: str
    currency: str
    amount: int
    balance: int


class User(faust.Record):
    """What a user has, and the last events, so that none counts twice."""

    points: int = 0
    xp: int = 0
    coins: int = 0
    tier: str = "bronze"
    recent: list = []


campaigns = by_event_type(json.loads((FOLDER / "campaigns.json").read_text()))
actions_topic = app.topic("actions", key_type=str, value_type=Action)
ledger_topic = app.topic("ledger", key_type=str, value_type=Entry)
users = app.Table("users", key_type=str, value_type=User, default=User)


@app.agent(actions_topic)
async def reward(actions: faust.StreamT) -> None:
    """Give each action's user what it earns."""
    async for action in actions:
        user = users[action.user_id]
        if action.event_id in user.recent:
            continue
        candidates = campaigns.get(action.type, [])
        for campaign, currency, amount in rewards(candidates, action.type, action.data):
            balance = getattr(user, currency) + amount
            setattr(user, currency, balance)
            entry = Entry(
                user_id=action.user_id,
                event_id=action.event_id,
                campaign=campaign,
                currency=currency,
                amount=amount,
                balance=balance,
            )
            await ledger_topic.send(key=action.user_id, value=entry)
        user.tier = tier_of(user.points)
        user.recent = [*user.recent, action.event_id][-RECENT_EVENTS:]
        users[action.user_id] = user


if __name__ == "__main__":
    app.main()

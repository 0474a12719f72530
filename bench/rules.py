"""Rule evaluation alone, in this process: microseconds per action, or per change.

`evaluate` is the rules' share of an action: finding the campaigns of its type and
testing their conditions, with nothing done about those that hold. `fold` is the whole
decision, `rules.apply.apply`: the same, and counting, balances and entries; its rows
are in dicts. Both are CPU time of this thread, with the collector of cycles at rest.

What a campaign more costs is measured on two orgs over the same types and actions, of
few campaigns and of many. An org with ten campaigns over 40 types earns next to
nothing, so the many are the few and quiet ones: those are found and tested like any
other, and their last condition never holds. Both orgs earn the same entries; they
differ in how much is tested. `fold_earning_*` has the orgs as they are, where the many
also earn 50 times as many entries.

`change` is a change of one of the many campaigns: the program of the next version, of
which nothing is compiled before an action needs it.
"""

import gc
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from bench import workload
from bench.instance import BenchFailed
from bench.measure import Spread, spread
from rules.apply import apply, new_user
from rules.config import Campaign, OrgConfig, OrgSettings
from rules.errors import Rejection
from rules.ledger import IdSpace
from rules.message import Action, Message
from rules.outcome import Place
from rules.parse_campaign import parse_campaign
from rules.program import Program
from rules.state import CapKey, Lot

FEW: Final = 10
NEVER_REACHED: Final = 1_000_000
"""An amount beyond that of every action."""
CLOCK_MS: Final = 1_760_000_000_000

_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(list[Message], float_hook=Decimal).decode


class RuleFigures(msgspec.Struct, frozen=True):
    """Microseconds per action, `change_us` per change, and what they are of.

    Attributes:
      evaluate_us: Rules of the org of many campaigns, and `evaluate_few_us` of few.
      fold_us: The whole decision of that org, and `fold_few_us` of few.
      fold_quiet_us: Of the few and quiet ones, many in all.
      ratio: `fold_quiet_us` by `fold_few_us`, round by round.
      ratio_evaluate: `evaluate_us` by `evaluate_few_us`, round by round.
      ratio_earning: `fold_us` by `fold_few_us`, round by round.
      change_us: The program after a change of one campaign of many.
    """

    evaluate_us: Spread
    evaluate_few_us: Spread
    fold_us: Spread
    fold_few_us: Spread
    fold_quiet_us: Spread
    ratio: Spread
    ratio_evaluate: Spread
    ratio_earning: Spread
    change_us: Spread


class _Rows:
    """A user's rows in dicts (`rules.state.UserRows`); the workload has no caps."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def seen_until(self, event_id: str) -> int | None:
        return self._seen.get(event_id)

    def mark_seen(self, event_id: str, until_ms: int) -> None:
        self._seen[event_id] = until_ms

    def cap(self, key: CapKey) -> int:
        raise BenchFailed(f"the workload has no cap {key}")

    def set_cap(self, key: CapKey, value: int) -> None:
        raise BenchFailed(f"the workload has no cap {key} of {value}")

    def drop_caps_before(self, day: int) -> None:
        raise BenchFailed(f"the workload has no caps before {day}")

    def lots(self, currency: str) -> list[Lot]:
        raise BenchFailed(f"the workload has no lots of {currency}")

    def put_lot(self, lot: Lot) -> None:
        raise BenchFailed(f"the workload has no lot {lot}")


def measure_rules(
    *, actions: int, users: int, repeats: int, campaigns: int = workload.CAMPAIGNS
) -> RuleFigures:
    """Measure, rounds of all figures in turn.

    Args:
      actions: Of one round.
      users: Size of the population.
      repeats: Rounds that count; one more comes before them.
      campaigns: How many are many.
    """
    # Through JSON, as actions come from the log: numbers are int or Decimal.
    made = _decode(_encode(list(workload.actions(actions, users))))
    batch = [action for action in made if isinstance(action, Action)]
    few = workload.campaigns(FEW)
    programs = {
        "many": program_of(workload.campaigns(campaigns)),
        "few": program_of(few),
        "quiet": program_of(few + _quiet(workload.campaigns(campaigns)[FEW:])),
    }
    config = config_of(workload.campaigns(campaigns))
    figures: dict[str, list[float]] = {}
    for number in range(repeats + 1):
        change_us = _time_changes(config)
        if number > 0:
            figures.setdefault("change", []).append(change_us)
        for name, program in programs.items():
            evaluate_us = _time_evaluate(program, batch)
            fold_us = _time_fold(program, batch)
            if number > 0:
                figures.setdefault(f"evaluate {name}", []).append(evaluate_us)
                figures.setdefault(f"fold {name}", []).append(fold_us)
    return RuleFigures(
        evaluate_us=spread(figures["evaluate many"]),
        evaluate_few_us=spread(figures["evaluate few"]),
        fold_us=spread(figures["fold many"]),
        fold_few_us=spread(figures["fold few"]),
        fold_quiet_us=spread(figures["fold quiet"]),
        ratio=_ratio(figures["fold quiet"], figures["fold few"]),
        ratio_evaluate=_ratio(figures["evaluate many"], figures["evaluate few"]),
        ratio_earning=_ratio(figures["fold many"], figures["fold few"]),
        change_us=spread(figures["change"]),
    )


def _ratio(larger: Sequence[float], smaller: Sequence[float]) -> Spread:
    return spread([a / b for a, b in zip(larger, smaller, strict=True)])


def _quiet(bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return campaigns whose amount no action reaches; it is what is tested last."""
    quiet = []
    for body in bodies:
        (trigger,) = body["triggers"]
        amount, *others = trigger["conditions"]
        conditions = [{**amount, "value": NEVER_REACHED}, *others]
        quiet.append({**body, "triggers": [{**trigger, "conditions": conditions}]})
    return quiet


def program_of(bodies: Sequence[dict[str, Any]]) -> Program:
    """Return the program of campaigns, as operators send them."""
    return Program(config_of(bodies))


def config_of(bodies: Sequence[dict[str, Any]]) -> OrgConfig:
    """Return the org's config of campaigns, as operators send them."""
    campaigns = {}
    for number, body in enumerate(bodies):
        problems: list[Rejection] = []
        values = parse_campaign(body, problems)
        if values is None:
            raise BenchFailed(f"campaign {number} is refused: {problems}")
        name = f"camp_{number:03d}"
        campaigns[name] = Campaign(
            campaign_id=name, **values, created_at_ms=0, updated_at_ms=0
        )
    settings = OrgSettings()
    return OrgConfig(workload.ORG, 1, settings, campaigns, {}, {})


def _cpu_us(work: Callable[[], None], times: int) -> float:
    gc.collect()
    gc.disable()
    try:
        began = time.thread_time()
        work()
        return (time.thread_time() - began) / times * 1e6
    finally:
        gc.enable()


def _time_evaluate(program: Program, actions: Sequence[Action]) -> float:
    user = new_user(program, workload.ORG, "anybody", CLOCK_MS, _Rows())
    evaluate = program.evaluate

    def work() -> None:
        for action in actions:
            evaluate(user, action, CLOCK_MS, _ignore)

    return _cpu_us(work, len(actions))


def _ignore(_candidate: object) -> None:
    """Do nothing about a campaign that holds."""


def _time_changes(config: OrgConfig) -> float:
    """Change every campaign once, one after the other; return microseconds a change."""
    before = Program(config)
    versions = []
    for name, row in config.campaigns.items():
        changed = msgspec.structs.replace(row, version=row.version + 1)
        config = msgspec.structs.replace(
            config,
            version=config.version + 1,
            campaigns={**config.campaigns, name: changed},
        )
        versions.append(config)

    def work() -> None:
        program = before
        for version in versions:
            program = Program(version, program)

    return _cpu_us(work, len(versions))


def _time_fold(program: Program, actions: Sequence[Action]) -> float:
    ids = IdSpace("0" * 32, "users", 0)
    # Made beforehand: users that act once would hide what an action costs.
    users = {
        action.user: new_user(program, workload.ORG, action.user, CLOCK_MS, _Rows())
        for action in actions
    }

    def work() -> None:
        for number, action in enumerate(actions):
            place = Place(ids, number, CLOCK_MS)
            apply(program, users[action.user], action, place)

    return _cpu_us(work, len(actions))

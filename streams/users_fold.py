"""The fold of the `users` topic: actions, profile updates and config changes."""

from collections.abc import Sequence
from typing import Final

from rules.admin_org import DEDUPE_HORIZON_DAYS_MAX
from rules.apply import apply, new_user
from rules.config import DAY_MS, OrgConfig, OrgSettings, apply_change, row_from_json
from rules.errors import Rejection
from rules.message import Action, Command, ConfigChange, Message
from rules.outcome import Outcome, Place, Result
from rules.program import Program
from rules.state import NOTIFICATIONS_MAX
from streams.fold import (
    SECOND_GENESIS,
    FoldFault,
    Home,
    answer,
    bury,
    earlier_answer,
    is_new,
)
from streams.org_rows import load_config, put_config
from streams.sheet import Sheet
from streams.topics import ORGS, partition_of
from tables.store import Store
from tables.users import UserTable

PROGRAMS_CACHED_MAX: Final = 256
"""Orgs whose compiled program is kept; the others are compiled again when they act."""

_UNKNOWN_ORG = Rejection("UNKNOWN_ORG", "no such org", "org")
_WRONG_SOURCE = Rejection("WRONG_SOURCE", "config comes from orgs alone", "source")
_WRONG_PARTITION = Rejection(
    "WRONG_PARTITION", "the key does not hash to this partition (murmur2)", "key"
)


class UsersFold:
    """Folds one partition of `users`; see `streams.fold.Fold`."""

    def __init__(self, store: Store, home: Home) -> None:
        """Start with nothing in memory."""
        self._home = home
        self._table = UserTable(store)
        self._programs: dict[str, Program] = {}
        self._configs: dict[str, OrgConfig] = {}
        self._sheet = Sheet(store)

    def begin(
        self, sheet: Sheet, messages: Sequence[Message | Rejection], clock_ms: int
    ) -> None:
        """See Fold."""
        self._sheet = sheet
        actions = [message for message in messages if type(message) is Action]
        self._table.begin(sheet.batch, actions, clock_ms)

    def fold(self, message: Message, place: Place) -> None:
        """See Fold."""
        if isinstance(message, Action):
            self._fold_action(message, place)
        elif isinstance(message, ConfigChange):
            self._fold_config(message, place)
        elif isinstance(message, Command):
            self._fold_command(message, place)
        else:
            bury(self._sheet, self._home, place, SECOND_GENESIS, message)

    def flush(self) -> None:
        """See Fold."""
        self._table.flush()

    def end(self) -> None:
        """See Fold."""
        self._table.end()
        # Only here: within a step the cache holds what the store does not yet.
        while len(self._configs) > PROGRAMS_CACHED_MAX:
            org = next(iter(self._configs))
            del self._configs[org]
            self._programs.pop(org, None)

    def _fold_action(self, action: Action, place: Place) -> None:
        sheet = self._sheet
        outcome = self._outcome(action, action.user, place)
        fate = outcome.fate
        sheet.count(fate)
        if action.batch is not None and _may_tally(outcome.rejection):
            sheet.tally(action.org, action.batch, fate, place)
        if outcome.rejection is not None:
            bury(sheet, self._home, place, outcome.rejection, action)

    def _fold_command(self, command: Command, place: Place) -> None:
        sheet = self._sheet
        result = earlier_answer(sheet, command, place)
        if result is not None:
            sheet.answer(result, place.clock_ms)
            return
        if command.user is None:
            why = Rejection("UNKNOWN_COMMAND", "no user is named", "user")
            result = Result(command.command_id, 400, None, why, [why])
        else:
            outcome = self._outcome(command, command.user, place)
            result = outcome.result
            if result is None:
                why = outcome.rejection or _UNKNOWN_ORG
                result = Result(command.command_id, 404, None, why, [why])
        answer(sheet, command, result, place)

    def _outcome(
        self, message: Action | Command, user_id: str, place: Place
    ) -> Outcome:
        """Fold a message into its user and put what it made on the sheet."""
        org = message.org
        program = self._programs.get(org) or self._program(org)
        if program is None:
            return Outcome(fate="refused", changed=False, rejection=_UNKNOWN_ORG)
        table = self._table
        user = table.get(org, user_id)
        if user is None:
            # A user whose state is here was checked when it came to be.
            if partition_of(org, user_id, self._home.partitions) != (
                self._home.partition
            ):
                return Outcome(
                    fate="refused", changed=False, rejection=_WRONG_PARTITION
                )
            rows = table.rows(org, user_id)
            user = new_user(program, org, user_id, place.clock_ms, rows)
        outcome = apply(program, user, message, place)
        if outcome.changed:
            part = table.put(user)
            if outcome.entries:
                self._sheet.enter(part, outcome.entries)
            if outcome.notifications:
                self._sheet.notify(part, outcome, NOTIFICATIONS_MAX)
        if outcome.counts:
            for name, amount in outcome.counts.items():
                self._sheet.count(name, amount)
        return outcome

    def _program(self, org: str) -> Program | None:
        """Compile the program of an org that has none in memory."""
        config = self._config(org)
        if config is None:
            return None
        program = self._programs[org] = Program(config)
        return program

    def _config(self, org: str) -> OrgConfig | None:
        config = self._configs.get(org)
        if config is None:
            config = load_config(self._sheet, org)
            if config is not None:
                self._configs[org] = config
        return config

    def _fold_config(self, change: ConfigChange, place: Place) -> None:
        if change.source.topic != ORGS or change.source.partition < 0:
            bury(self._sheet, self._home, place, _WRONG_SOURCE, change)
            return
        if not is_new(self._sheet, change.source):
            return
        config = self._config(change.org)
        version = 0 if config is None else config.version
        if change.version <= version:
            return
        if change.version > version + 1:
            raise FoldFault(
                f"config version {change.version} of an org cannot follow {version}"
            )
        for kind, _row_id, value in change.changes:
            if kind == "settings" and value is not None:
                settings: OrgSettings = row_from_json(kind, value)
                self._widen_horizon(settings.dedupe_horizon_ms)
        put_config(self._sheet, change.org, change.version, change.changes)
        config = apply_change(config, change.org, change.version, change.changes)
        self._configs[change.org] = config
        # At once, also where nobody acts: rows that do not parse must park here, and
        # not at every action that comes after them.
        before = self._programs.get(change.org)
        self._programs[change.org] = Program(config, before)
        self._sheet.count("config_changes")

    def _widen_horizon(self, horizon_ms: int) -> None:
        # Every step of the partition looks for seen ids as far ahead as this.
        if not 0 <= horizon_ms <= DEDUPE_HORIZON_DAYS_MAX * DAY_MS:
            raise FoldFault(
                f"a dedupe horizon of {horizon_ms} ms is not one of 0 to "
                f"{DEDUPE_HORIZON_DAYS_MAX} days"
            )
        self._table.widen_horizon(horizon_ms)


def _may_tally(rejection: Rejection | None) -> bool:
    """Return whether an action's org and batch are such as a tally may stand under."""
    return rejection is None or not (
        rejection.code == "UNKNOWN_ORG" or rejection.field == "batchId"
    )

"""The fold of the `orgs` topic: admin commands, and the broadcast of their changes."""

from collections.abc import Sequence
from typing import Any, Final

from rules.admin import decide
from rules.config import OrgConfig, apply_change, row_from_json
from rules.errors import Rejection
from rules.message import Command, ConfigChange, Genesis, Message, Source
from rules.outcome import Place
from streams.fold import SECOND_GENESIS, Home, answer, bury, earlier_answer
from streams.org_rows import load_config, load_rows, put_config, put_rows
from streams.sheet import Sheet
from streams.topics import USERS
from tables import codec, keys
from tables.store import Store

CONFIGS_CACHED_MAX: Final = 256
"""Orgs whose config is kept in memory."""


class StoredOrg:
    """`rules.admin.OrgView` of one org over the partition's rows."""

    def __init__(self, sheet: Sheet, org: str, config: OrgConfig | None) -> None:
        """Look at an org through a step's sheet.

        Args:
          sheet: The step's sheet; its own writes are seen.
          org: Org id.
          config: The org's live config, or None where there is no such org.
        """
        self._sheet = sheet
        self._org = org
        self.config = config

    def row(self, kind: str, row_id: str) -> Any | None:
        """See OrgView."""
        stored = self._sheet.get(keys.config_row(self._org, kind, row_id))
        if stored is None:
            return None
        return row_from_json(kind, codec.config_rows.decode(stored))

    def rows(self, kind: str) -> list[Any]:
        """See OrgView."""
        return load_rows(self._sheet, self._org, kind)


class OrgsFold:
    """Folds one partition of `orgs`; see `streams.fold.Fold`."""

    def __init__(self, store: Store, home: Home) -> None:
        """Start with nothing in memory."""
        self._home = home
        self._configs: dict[str, OrgConfig] = {}
        self._sheet = Sheet(store)

    def begin(
        self, sheet: Sheet, messages: Sequence[Message | Rejection], clock_ms: int
    ) -> None:
        """See Fold; nothing is loaded ahead."""
        self._sheet = sheet

    def fold(self, message: Message, place: Place) -> None:
        """See Fold."""
        if isinstance(message, Command):
            self._fold_command(message, place)
        elif isinstance(message, Genesis):
            bury(self._sheet, self._home, place, SECOND_GENESIS, message)
        else:
            why = Rejection("WRONG_TOPIC", "this message belongs in the users topic")
            bury(self._sheet, self._home, place, why, message)

    def flush(self) -> None:
        """See Fold; every row is written as it changes."""

    def end(self) -> None:
        """See Fold."""
        while len(self._configs) > CONFIGS_CACHED_MAX:
            del self._configs[next(iter(self._configs))]

    def _fold_command(self, command: Command, place: Place) -> None:
        sheet = self._sheet
        result = earlier_answer(sheet, command, place)
        if result is not None:
            sheet.answer(result, place.clock_ms)
            return
        config = self._config(command.org)
        view = StoredOrg(sheet, command.org, config)
        decision = decide(view, command, place)
        put_rows(sheet, command.org, decision.private)
        if decision.changes:
            self._broadcast(command.org, config, decision.changes, place)
        # The result row becomes visible with the step, after the broadcast is acked.
        answer(sheet, command, decision.result, place)

    def _broadcast(
        self, org: str, config: OrgConfig | None, changes: list[Any], place: Place
    ) -> None:
        sheet = self._sheet
        home = self._home
        version = 1 if config is None else config.version + 1
        put_config(sheet, org, version, changes)
        self._configs[org] = apply_change(config, org, version, changes)
        source = Source(home.topic, home.partition, place.number, 0)
        change = ConfigChange(org, version, changes, source)
        for partition in range(home.partitions):
            sheet.send(USERS, partition, change)

    def _config(self, org: str) -> OrgConfig | None:
        config = self._configs.get(org)
        if config is None:
            config = load_config(self._sheet, org)
            if config is not None:
                self._configs[org] = config
        return config

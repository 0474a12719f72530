"""The fold of a user's aggregate: one message in, one outcome out.

    apply(program, user, message, place) -> Outcome

Pure and deterministic: what it knows of time is `place.clock_ms`, what it knows of the
config is `program`. Order of an action's fold: duplicate? - settle what is due - too
late? - count - campaigns - `updatedAt` (docs/semantics.md). A refusal is decided before
anything changes.
"""

from rules import wallet
from rules.action import USER_BYTES_MAX, check_action, name_problem
from rules.errors import Rejection
from rules.grant import Grant
from rules.ledger import Entry
from rules.message import Action, Command
from rules.outcome import Outcome, Place, Result
from rules.profile import apply_profile_update, parse_profile_update
from rules.program import Program
from rules.state import COUNTERS_MAX, FOREVER_MS, User, UserRows, UserState

_ACTION_FIELDS = frozenset({"counts", "last_action_at_ms"})


def new_user(
    program: Program, org: str, user_id: str, clock_ms: int, rows: UserRows
) -> User:
    """Return the aggregate of a user that no message has named before."""
    state = UserState(clock_ms, clock_ms, tier=program.tier_of(0))
    return User(org, user_id, state, rows)


def apply(
    program: Program,
    user: User,
    message: Action | Command,
    place: Place,
    *,
    trace: bool = False,
) -> Outcome:
    """Fold one message into a user.

    Args:
      program: The org's program at the version in force at this place of the log.
      user: The aggregate, mutated; untouched where the outcome is not `changed`.
      message: An action, or a command addressed to a user.
      place: Position, clock and id space.
      trace: Explain in `Outcome.trace` what every candidate campaign did and why.

    Returns:
      What the message did. Bad input is a `refused` outcome, never an exception.
    """
    if isinstance(message, Action):
        return _apply_action(program, user, message, place, trace)
    return _apply_command(program, user, message, place)


def _refuse(rejection: Rejection) -> Outcome:
    return Outcome(fate="refused", changed=False, rejection=rejection)


def _apply_action(
    program: Program, user: User, action: Action, place: Place, trace: bool
) -> Outcome:
    settings = program.settings
    clock_ms = place.clock_ms
    occurred_ms = action.occurred_at_ms
    if occurred_ms is None:
        occurred_ms = clock_ms
    event_id = action.event_id
    if event_id is not None:
        # First of all: a repeated id is a duplicate whatever its body.
        seen_until_ms = user.rows.seen_until(event_id)
        if seen_until_ms is not None and clock_ms <= seen_until_ms:
            return Outcome(fate="duplicate", changed=False)
    problem = check_action(action, plain=place.plain)
    if problem is not None:
        return _refuse(problem)
    if occurred_ms > clock_ms + settings.future_tolerance_ms:
        return _refuse(
            Rejection("TIMESTAMP_IN_FUTURE", "timestamp is in the future", "timestamp")
        )
    if event_id is not None:
        user.rows.mark_seen(
            event_id,
            FOREVER_MS if action.keep_id else clock_ms + settings.dedupe_horizon_ms,
        )
    outcome = Outcome()
    state = user.state
    if state.next_expiry_ms is not None:
        _settle(user, place, outcome)
    late_horizon_ms = settings.late_horizon_ms
    if late_horizon_ms is not None and occurred_ms < clock_ms - late_horizon_ms:
        outcome.fate = "too_late"
        return outcome
    _count_action(program, state, action.type, occurred_ms)
    if program.segment_fields and not _ACTION_FIELDS.isdisjoint(program.segment_fields):
        user.segment_known = 0
    grant = Grant(program, user, action, occurred_ms, place, outcome)
    if trace:
        outcome.trace = program.trace(user, action, occurred_ms, grant.fire)
    else:
        program.evaluate(user, action, occurred_ms, grant.fire)
    _mark_updated(program, user, clock_ms)
    return outcome


def _count_action(
    program: Program, state: UserState, action_type: str, occurred_ms: int
) -> None:
    counts = state.counts
    if action_type in counts:
        counts[action_type] += 1
    elif len(counts) < COUNTERS_MAX or program.names_type(action_type):
        counts[action_type] = 1
    if state.last_action_at_ms is None or occurred_ms > state.last_action_at_ms:
        state.last_action_at_ms = occurred_ms


def _mark_updated(program: Program, user: User, clock_ms: int) -> None:
    user.state.updated_at_ms = clock_ms
    if "updated_at_ms" in program.segment_fields:
        user.segment_known = 0


def _settle(user: User, place: Place, outcome: Outcome) -> None:
    """Debit the lots that are due, before anything else happens to the user."""
    due = wallet.due_lots(user, place.clock_ms)
    if not due:
        return
    state = user.state
    for lot in due:
        balance = wallet.expire(user, lot)
        ordinal = len(outcome.entries)
        state.entry_count += 1
        outcome.entries.append(
            Entry(
                entry_id=place.ids.new_id(place.number, ordinal),
                number=place.number,
                ordinal=ordinal,
                org=user.org,
                user=user.user_id,
                sequence=state.entry_count,
                kind="debit",
                currency=lot.currency,
                amount=lot.remaining,
                balance_after=balance,
                item=None,
                reason="expired",
                source="expiry",
                campaign_id=None,
                rule_id=None,
                campaign_version=None,
                event_id=None,
                expires_at_ms=None,
                occurred_at_ms=lot.expires_at_ms,
                created_at_ms=place.clock_ms,
            )
        )
    wallet.renew_next_expiry(user)
    user.segment_known = 0


def _apply_command(
    program: Program, user: User, command: Command, place: Place
) -> Outcome:
    if command.name != "profile.update":
        unknown = Rejection("UNKNOWN_COMMAND", "no such command for a user", "name")
        return _answer(command, [unknown])
    wrong = name_problem(user.user_id, "user", USER_BYTES_MAX)
    if wrong is not None:
        return _answer(command, [wrong])
    problems: list[Rejection] = []
    update = parse_profile_update(command.body, problems)
    if update is None or problems:
        return _answer(command, problems)
    outcome = Outcome(result=Result(command.command_id, 200, {}))
    problems = apply_profile_update(user.state, update, place.clock_ms)
    if problems:
        return _answer(command, problems)
    _settle(user, place, outcome)
    user.segment_known = 0
    _mark_updated(program, user, place.clock_ms)
    return outcome


def _answer(command: Command, problems: list[Rejection]) -> Outcome:
    """Refuse a command: an answer, and nothing changed."""
    result = Result(command.command_id, 400, None, problems[0], problems)
    return Outcome(fate="refused", changed=False, result=result)

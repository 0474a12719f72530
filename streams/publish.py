"""What a step sends out, as records: to other aggregates, dead letters, the ledger.

A ledger record is ``[1,{header},[entry,...]]``; an entry is the array of
rules/ledger.py. Every output carries (log id, source topic, partition, message number,
ordinal), so a consumer that keeps the greatest per source and drops the rest sees each
exactly once.
"""

from collections.abc import Iterator, Sequence

from streams.log import Append
from streams.messages import envelopes, split_encoded
from streams.stepper import Step
from streams.topics import DEAD, DEAD_LETTERS, LEDGER
from tables.codec import encode_json


def publications(step: Step) -> Iterator[tuple[str, list[Append]]]:
    """Yield (fault point behind it, records) for each phase, in the order of sending.

    A phase begins when the one before it is acked; within one, see `rounds`. Records
    stay below 900 kB.
    """
    sheet = step.sheet
    outputs = [
        Append(topic, partition, None, value)
        for (topic, partition), messages in sheet.outputs.items()
        for value in envelopes(messages)
    ]
    yield "after_outputs", outputs
    yield (
        "after_dead_letters",
        [Append(DEAD, DEAD_LETTERS, None, letter) for letter in sheet.dead],
    )
    yield "after_ledger", list(_ledger(step, sheet.entries))


def rounds(appends: Sequence[Append]) -> list[list[Append]]:
    """Return a phase's records in rounds, each to be acked before the next.

    Who reads a partition goes by the greatest number seen there, so a round has one
    record per partition: of two, a log may lose the first and store the second. Letters
    in `dead` are told apart one by one.
    """
    found: list[list[Append]] = []
    turns: dict[tuple[str, int], int] = {}
    for append in appends:
        place = (append.topic, append.partition)
        turn = turns.get(place, 0)
        if append.topic != DEAD:
            turns[place] = turn + 1
        if turn == len(found):
            found.append([])
        found[turn].append(append)
    return found


def _ledger(step: Step, entries: Sequence[bytes]) -> Iterator[Append]:
    home = step.home
    parts = list(split_encoded(entries))
    for part, run in enumerate(parts, 1):
        header = encode_json(
            {
                "logId": home.log_id,
                "topic": home.topic,
                "partition": home.partition,
                "offset": step.row.offset,
                "digest": step.row.digest,
                "part": part,
                "parts": len(parts),
            }
        )
        value = b"[1,%b,[%b]]" % (header, b",".join(run))
        yield Append(LEDGER, home.partition, None, value)

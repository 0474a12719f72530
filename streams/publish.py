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

    Records of one phase may be stored together; a phase begins when the one before it
    is acked. Records stay below 900 kB.
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

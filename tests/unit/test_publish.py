"""In which order the records of a step go out."""

from streams.log import Append
from streams.publish import rounds
from streams.topics import DEAD, LEDGER, USERS


def append(topic, partition, value):
    return Append(topic, partition, None, value)


def test_a_second_record_of_a_partition_waits_for_the_first():
    parts = [append(LEDGER, 2, b"1"), append(LEDGER, 2, b"2"), append(LEDGER, 2, b"3")]
    assert rounds(parts) == [[part] for part in parts]


def test_records_of_several_partitions_go_together():
    one = [append(USERS, n, b"change") for n in range(4)]
    again = [append(USERS, n, b"again") for n in (1, 3)]
    assert rounds([*one[:2], again[0], *one[2:], again[1]]) == [one, again]


def test_letters_are_told_apart_one_by_one():
    letters = [append(DEAD, 0, b"%d" % number) for number in range(5)]
    assert rounds(letters) == [letters]
    assert rounds([]) == []

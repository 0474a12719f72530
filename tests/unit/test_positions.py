"""How our consumers deliver: Faust's classes on a real log, without a worker.

What a machine would be given is noted; only the thread of Kafka's consumer is stood in
for, as no broker answers on demand in the middle of a rebalance.
"""

import asyncio
from types import SimpleNamespace

import pytest
from faust.types import TP

from streams.app import WorkerConfig, build_app
from streams.kafka_config import KafkaConfig
from streams.log import Append
from streams.sqlite_log import SqliteLog
from streams.topics import USERS
from streams.transports import kafka, sqlite

PLACE = TP(USERS, 0)
DEADLINE_S = 10.0


@pytest.fixture
def log(tmp_path):
    SqliteLog.create(tmp_path, "ab" * 16, 1, tzdata_version="2025b")
    log = SqliteLog(tmp_path)
    yield log
    log.close()


class Delivered:
    """A consumer with one partition, and what it delivered; stoppable half-way."""

    def __init__(self, log, folder, config=None):
        app = build_app(WorkerConfig(folder, kafka=config), log, lambda _: None)
        self.app = app
        self.position = 0
        app.machine_positions = lambda _tp: self.position
        self.offsets = []
        self.at = {}
        self.consumer = app.transport.create_consumer(
            self._take,
            on_partitions_revoked=self._nothing,
            on_partitions_assigned=self._nothing,
        )
        self.consumer._assigned = {PLACE}
        self.consumer._positions = {PLACE: 0}
        self.consumer._set_active_tps({PLACE})

    async def _nothing(self, *_):
        pass

    async def _take(self, message):
        self.offsets.append(message.offset)
        event = self.at.get(message.offset)
        if event is not None:
            reached, go_on = event
            reached.set()
            await go_on.wait()

    def hold_at(self, offset):
        """Have delivery stand at an offset; return what tells, what lets it go."""
        self.at[offset] = pair = (asyncio.Event(), asyncio.Event())
        return pair

    async def draining(self, until):
        """Deliver until a condition holds."""
        fetcher = SimpleNamespace(should_stop=False)
        task = asyncio.ensure_future(self.consumer._drain_messages(fetcher))
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not until():
                    assert not task.done(), task
                    await asyncio.sleep(0)
        finally:
            fetcher.should_stop = True
            self.consumer.stop_flow()
            self.consumer.can_resume_flow.set()
            self.consumer._woken.set()
            await asyncio.wait_for(task, DEADLINE_S)


def append(log, count):
    log.append_many([Append(USERS, 0, b"acme/u", b"%d" % n) for n in range(count)])


def test_a_rewind_waits_for_delivery_and_nothing_of_the_old_batch_follows(
    log, tmp_path
):
    append(log, 9)

    async def run():
        one = Delivered(log, tmp_path)
        consumer = one.consumer
        consumer.resume_flow()
        reached, go_on = one.hold_at(5)
        rewound = []

        async def rewind():
            await reached.wait()
            one.position = 2
            one.at.clear()
            await consumer.perform_seek()
            rewound.append(len(one.offsets))
            go_on.set()
            consumer.resume_flow()

        task = asyncio.ensure_future(rewind())
        await one.draining(lambda: rewound and one.offsets[-1] == 9)
        await task
        return one.offsets, rewound[0]

    offsets, before = asyncio.run(run())
    assert offsets[:before] == [0, 1, 2, 3, 4, 5]
    assert offsets[before:] == [2, 3, 4, 5, 6, 7, 8, 9]


def test_a_batch_that_was_fetched_before_a_rewind_is_not_delivered_after_it(
    log, tmp_path
):
    append(log, 9)

    async def run():
        one = Delivered(log, tmp_path)
        consumer = one.consumer
        consumer._positions[PLACE] = 5
        one.position = 2
        fetched, answer = asyncio.Event(), asyncio.Event()
        fetch = consumer._fetch

        async def slow(active):
            batch = await fetch(active)
            fetched.set()
            await answer.wait()
            return batch

        async def committed():
            # At once, not in a thread: nothing but the lock can hold up a seek.
            return {PLACE: None}

        consumer._fetch = slow
        consumer._committed_offsets = committed
        consumer.resume_flow()

        async def seek_and_resume():
            await consumer.perform_seek()
            consumer.resume_flow()

        async def rewind():
            await fetched.wait()
            seek = asyncio.ensure_future(seek_and_resume())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            answer.set()
            await seek

        task = asyncio.ensure_future(rewind())
        await one.draining(lambda: one.offsets[-1:] == [9] and task.done())
        return one.offsets

    assert asyncio.run(run()) == [2, 3, 4, 5, 6, 7, 8, 9]


def test_an_append_to_an_idle_log_is_delivered_without_a_poll(
    log, tmp_path, monkeypatch
):
    monkeypatch.setattr(sqlite, "POLL_SECONDS", 3_600.0)

    async def run():
        one = Delivered(log, tmp_path)
        consumer = one.consumer
        idle = asyncio.Event()
        wait = consumer._idle

        async def noted():
            idle.set()
            await wait()

        consumer._idle = noted
        await consumer.on_start()
        consumer.resume_flow()

        async def append_when_idle():
            await idle.wait()
            assert one.offsets == [0]
            append(log, 1)

        task = asyncio.ensure_future(append_when_idle())
        await one.draining(lambda: one.offsets == [0, 1])
        await task
        await consumer.on_shutdown()

    asyncio.run(run())


def test_a_fetched_batch_costs_one_wait_and_no_wait_of_faust(log, tmp_path):
    append(log, 300)

    async def run():
        one = Delivered(log, tmp_path)
        consumer = one.consumer
        consumer.resume_flow()
        waits, batches = [], []
        deliver = consumer._deliver_unless_suspended

        async def counted(batch):
            batches.append(len(batch[PLACE]))
            await deliver(batch)

        async def wait(*_args, **_kwargs):
            waits.append(1)

        consumer._deliver_unless_suspended = counted
        plain_wait = asyncio.wait
        calls = []

        async def counted_wait(*args, **kwargs):
            calls.append(1)
            return await plain_wait(*args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "wait", counted_wait)
            patch.setattr(consumer, "wait", wait)
            await one.draining(lambda: len(one.offsets) == 301)
        return batches, len(calls), waits

    batches, calls, waits = asyncio.run(run())
    assert batches == [301]
    # For the batch, and for the end of its delivery.
    assert calls == 2
    assert waits == []


def test_a_fetch_that_an_assignment_overtook_notes_nothing_in_the_new_one(
    log, tmp_path
):
    async def run():
        config = KafkaConfig(brokers="127.0.0.1:1", replication=1)
        one = Delivered(log, tmp_path, config)
        consumer = one.consumer
        assert isinstance(consumer, kafka.Consumer)
        asked, answer = asyncio.Event(), asyncio.Event()
        seeks = []

        class Thread:
            async def fetch(self, wanted, _active):
                seeks.append(dict(wanted))
                asked.set()
                await answer.wait()
                return {PLACE: [SimpleNamespace(offset=7)]}

        consumer._thread = Thread()
        late = asyncio.ensure_future(consumer._fetch({PLACE}))
        await asked.wait()
        await consumer.on_partitions_assigned({PLACE})
        consumer._positions[PLACE] = 8
        answer.set()
        await late
        await consumer._fetch({PLACE})
        return seeks

    # The new consumer's position is its own: it must be sent there.
    assert asyncio.run(run()) == [{PLACE: 0}, {PLACE: 8}]


def test_the_embedded_log_is_asked_where_it_ends(log, tmp_path):
    async def run():
        consumer = Delivered(log, tmp_path).consumer
        before, now = consumer.age_ms(PLACE, 4), consumer.age_ms(PLACE, 5)
        append(log, 1)
        return before, now, consumer.age_ms(PLACE, 5), consumer.age_ms(PLACE, 6)

    append(log, 4)
    before, now, behind, again = asyncio.run(run())
    assert before is None
    # When 5 was the end, and since.
    assert 0 <= now <= behind < DEADLINE_S * 1_000
    assert 0 <= again < DEADLINE_S * 1_000

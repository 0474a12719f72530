"""Group commit across threads: whoever comes first commits for all who wait.

A caller that finds nobody committing leads at once, so a lone caller waits for nothing.
Calls that arrive during a commit queue up and are committed together by the first of
them. There is no delay that anybody has to tune, and a thread of its own only where a
caller's time would be over before the commit that it is to lead.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from streams.log import LogError, LogUnavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

PATIENCE_S: Final = 1.0
"""Who has waited for longer does not lead by itself: a commit may take all the time
that a call has."""


class _Ticket(Generic[Item, Answer]):
    """One call that waits for its turn or its answer."""

    __slots__ = ("answer", "done", "error", "item", "leads", "signal", "weight")

    def __init__(self, item: Item, weight: int) -> None:
        self.item = item
        self.weight = weight
        self.answer: Answer | None = None
        self.error: LogError | None = None
        self.done = False
        self.leads = False
        # A bare lock is the cheapest thing one thread can wait on with a timeout.
        self.signal = threading.Lock()
        self.signal.acquire()


class GroupCommit(Generic[Item, Answer]):
    """Runs `commit` over batches of items, one batch at a time, in order of arrival."""

    def __init__(
        self,
        commit: Callable[[Sequence[Item]], Sequence[Answer]],
        *,
        batch_max: int,
        queue_max: int,
        timeout_s: float,
    ) -> None:
        """Bind the commit.

        Args:
          commit: Takes items, returns as many answers once they are durable; raises a
            `LogError` where it cannot, and then none of them counts.
          batch_max: Greatest weight of a batch; a heavier item goes alone.
          queue_max: Greatest weight that may wait; beyond it calls are refused.
          timeout_s: Longest wait of a call, seconds.
        """
        self._commit = commit
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._timeout_s = timeout_s
        self._mutex = threading.Lock()
        self._queue: deque[_Ticket[Item, Answer]] = deque()
        self._queued = 0
        self._led = False

    def submit(self, item: Item, weight: int) -> Answer:
        """Return the answer to an item once its batch is committed.

        Args:
          item: What the commit takes.
          weight: Its share of the bounds, >= 1.

        Raises:
          LogUnavailable: The queue is full, or the wait ran out; after a wait the item
            may still be committed.
          LogError: What the commit raised.
        """
        ticket: _Ticket[Item, Answer] = _Ticket(item, weight)
        began = time.monotonic()
        with self._mutex:
            if self._queue and self._queued + weight > self._queue_max:
                raise LogUnavailable("too much waits to be written; try again shortly")
            self._queue.append(ticket)
            self._queued += weight
            ticket.leads = not self._led
            self._led = True
        if ticket.leads or not self._follow(ticket, began + self._timeout_s):
            self._lead_in_time(ticket, began)
        if ticket.error is not None:
            raise ticket.error
        return ticket.answer  # type: ignore[return-value]  # set with `done`

    def _follow(self, ticket: _Ticket[Item, Answer], deadline: float) -> bool:
        """Wait until a ticket is done (True) or is to lead (False)."""
        if not ticket.signal.acquire(timeout=max(0.0, deadline - time.monotonic())):
            with self._mutex:
                if not ticket.done and not ticket.leads:
                    if ticket in self._queue:
                        self._queue.remove(ticket)
                        self._queued -= ticket.weight
                    raise self._too_late()
        return ticket.done

    def _too_late(self) -> LogUnavailable:
        return LogUnavailable(f"not written within {self._timeout_s:g} seconds")

    def _lead_in_time(self, own: _Ticket[Item, Answer], began: float) -> None:
        """Lead, on another thread where the caller could not wait for the end of it."""
        if time.monotonic() - began <= PATIENCE_S:
            self._lead(own)
            return
        own.leads = False
        leading = threading.Thread(
            target=self._lead, args=(own,), name="group-commit", daemon=True
        )
        try:
            leading.start()
        except RuntimeError:
            # No thread to be had: late is better than a lead that nobody takes.
            own.leads = True
            self._lead(own)
            return
        left_s = began + self._timeout_s - time.monotonic()
        # The signal may still be that to lead, which came just as time was over.
        if not own.signal.acquire(timeout=max(0.0, left_s)) or not own.done:
            raise self._too_late()

    def _lead(self, own: _Ticket[Item, Answer]) -> None:
        """Commit batches until one's own ticket is done, then pass the lead on."""
        try:
            while not own.done:
                self._commit_batch(self._take_batch())
        finally:
            with self._mutex:
                if self._queue:
                    self._queue[0].leads = True
                    self._queue[0].signal.release()
                else:
                    self._led = False

    def _take_batch(self) -> list[_Ticket[Item, Answer]]:
        """Take the oldest tickets that fit in a batch; at least one."""
        batch: list[_Ticket[Item, Answer]] = []
        weight = 0
        with self._mutex:
            while self._queue:
                ticket = self._queue[0]
                if batch and weight + ticket.weight > self._batch_max:
                    break
                batch.append(self._queue.popleft())
                weight += ticket.weight
            self._queued -= weight
        return batch

    def _commit_batch(self, batch: list[_Ticket[Item, Answer]]) -> None:
        """Commit a batch and wake its callers, whatever becomes of it."""
        error: LogError = LogUnavailable("the commit was broken off")
        answers: Sequence[Answer] | None = None
        try:
            answers = self._commit([ticket.item for ticket in batch])
        except LogError as raised:
            error = raised
        finally:
            # Another kind of exception goes up in the leader; its followers must not
            # wait for an answer that never comes.
            for place, ticket in enumerate(batch):
                if answers is None:
                    ticket.error = error
                else:
                    ticket.answer = answers[place]
                ticket.done = True
                if not ticket.leads:
                    ticket.signal.release()

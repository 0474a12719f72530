"""Where the benchmarks on Kafka run: a broker, a Redis, and who is measured on them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bench.kafka.cluster import Cluster
from bench.kafka.contender import Contender
from bench.kafka.ordinary import EXACTLY_ONCE, OrdinaryApp, faust_app, quix_app
from bench.kafka.plaudit_worker import PlauditWorker
from docker.kafka.broker import Broker
from docker.kafka.empty import empty
from docker.redis.server import RedisServer

ORDINARY: Final[dict[str, Callable[[Cluster, Path], OrdinaryApp]]] = {
    "idiomatic_faust": faust_app,
    "quix": quix_app,
    "quix_exactly_once": partial(quix_app, guarantee=EXACTLY_ONCE),
}
PLAUDIT: Final = PlauditWorker.name
CONTENDERS: Final = (PLAUDIT, *ORDINARY)


class Stage:
    """The broker, Redis, and a fresh start on them for each round."""

    def __init__(self, folder: Path) -> None:
        """Start them in an empty folder."""
        self._folder = folder
        self._broker = Broker(folder / "kafka")
        self._redis = RedisServer(folder / "redis")
        self._broker.start()
        self._redis.start()
        self._started = 0
        self.cluster = Cluster(self._broker.address)

    @property
    def broker_pid(self) -> int:
        """Return the broker's process."""
        return self._broker.pid

    @contextmanager
    def contender(self, name: str) -> Iterator[Contender]:
        """Give a contender a folder of its own and a broker without topics."""
        if name == PLAUDIT:
            with self.plaudit() as plaudit:
                yield plaudit
        else:
            with ORDINARY[name](self.cluster, self._fresh()) as app:
                yield app

    @contextmanager
    def plaudit(
        self, workers: int = 1, processes: int = 0, *, snapshots: bool = False
    ) -> Iterator[PlauditWorker]:
        """Give Plaudit the same, and an empty Redis; see `PlauditWorker`."""
        with PlauditWorker(
            self.cluster,
            self._fresh(),
            self._redis.url,
            workers=workers,
            processes=processes,
            snapshots=snapshots,
        ) as worker:
            yield worker

    def _fresh(self) -> Path:
        empty(self._broker.address)
        self._redis.ask("FLUSHALL")
        self._started += 1
        return self._folder / f"round-{self._started}"

    def close(self) -> None:
        """End broker and Redis."""
        self._broker.kill()
        self._redis.stop()

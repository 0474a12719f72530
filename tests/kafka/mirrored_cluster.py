"""Workers with folders of their own on a broker, and one mirror of all they own."""

import shutil

from tables.errors import ViewUnavailable
from tables.redis_client import RedisClient
from tables.redis_mirrors import RedisMirrors
from tables.redis_view import RedisView
from tests.kafka.cluster import Cluster
from tests.mirrored import assert_mirrored


class MirroredCluster(Cluster):
    """A cluster whose tables are read in Redis."""

    def __init__(self, path, broker, redis, monkeypatch, *, partitions=4):
        monkeypatch.setenv("PLAUDIT_REDIS_URL", redis.url)
        super().__init__(path, broker, monkeypatch, partitions=partitions)
        self.redis = RedisClient(redis.url)
        client = RedisClient(redis.url)
        self.view = RedisView(client, self.log.log_id, partitions)

    def close(self):
        self.view.close()
        self.redis.close()
        super().close()

    def reader(self, name="reader"):
        """Return a folder for an API without tables."""
        path = self.base.with_name(name)
        path.mkdir()
        for file in ("master.key", "credentials.json"):
            shutil.copy(self.path / file, path / file)
        return path

    def mirrored(self):
        """Return the next offset of each slot; None: it cannot be read."""
        found = {}
        for place in self.places():
            try:
                row = self.view.position(*place)
            except ViewUnavailable:
                row = None
            found[place] = None if row is None else row.offset + 1
        return found

    def is_mirrored(self):
        """Tell whether the mirror holds all that the log does."""
        return self.mirrored() == self.ends()

    def check_mirror(self, **options):
        """Compare every slot with the rows that go furthest; no worker may run."""
        mirrors = RedisMirrors(self.redis, self.log.log_id)
        for topic, partition in self.places():
            name = mirrors.slot(topic, partition).name
            with self.redis.calling() as raw:
                assert_mirrored(
                    raw, name, self.rows(topic, partition), topic, **options
                )

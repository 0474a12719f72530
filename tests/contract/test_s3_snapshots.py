import socket
import uuid

import pytest
from s3fs import S3FileSystem

from plaudit.errors import UNUSABLE, exit_code
from tables.errors import SnapshotsRefused
from tables.objects import Objects
from tests.contract.snapshot_contract import SnapshotContract


class TestS3Snapshots(SnapshotContract):
    @pytest.fixture
    def server_environ(self, s3):
        return {**s3.environ, "ENDPOINT": s3.endpoint}

    @pytest.fixture
    def objects(self, s3, monkeypatch):
        for name, value in s3.environ.items():
            monkeypatch.setenv(name, value)
        return Objects(f"{s3.url}/{uuid.uuid4().hex}", s3.endpoint)

    @pytest.fixture
    def unreachable(self, objects):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        return Objects("s3://snapshots/x", f"http://127.0.0.1:{port}")

    def test_a_bucket_that_is_missing_is_not_empty(self, objects, s3):
        with pytest.raises(SnapshotsRefused, match="cannot list s3://nowhere"):
            Objects("s3://nowhere/x", s3.endpoint).list("a")

    def test_wrong_credentials_are_refused_and_not_told(self, objects, s3, monkeypatch):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a wrong secret")
        S3FileSystem.clear_instance_cache()
        with pytest.raises(SnapshotsRefused) as refused:
            Objects(f"{s3.url}/other", s3.endpoint).list("a")
        assert "a wrong secret" not in str(refused.value)
        assert "credentials" in str(refused.value)
        assert exit_code(refused.value) == UNUSABLE
        S3FileSystem.clear_instance_cache()

    def test_a_region_that_is_none_is_refused(self, objects, s3, monkeypatch):
        monkeypatch.setenv("AWS_DEFAULT_REGION", "no region")
        S3FileSystem.clear_instance_cache()
        with pytest.raises(SnapshotsRefused, match="the region") as refused:
            Objects(f"{s3.url}/other", s3.endpoint).list("a")
        assert exit_code(refused.value) == UNUSABLE
        S3FileSystem.clear_instance_cache()

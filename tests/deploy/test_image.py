"""The image and the composition at work, as far as that goes without an engine.

The image is built from the Dockerfile; its containers run as its user on a read-only
root.
"""

import json
import shutil

import pytest

from docker.kafka import jars
from docker.ports import free_port
from docker.redis import server as redis_server
from tests.crash.api import ask, key_headers
from tests.deploy.compose_files import scratch_environ
from tests.deploy.composition import Composition, wait_for
from tests.deploy.containers import Container
from tests.deploy.image import build, default_command, has_containers
from tests.kafka.links import has_namespaces
from tests.kafka_server import JAVA
from tests.servers import may, need

PORT = 8400
ACTIONS = "/v1/api/audience/internal/actions"
API_CHECK = ["python", "/opt/plaudit/healthcheck.py", "api"]
PURCHASE = {
    "userId": "alice",
    "action": "purchase",
    "timestamp": "2025-10-06T16:45:00Z",
    "data": {"amount": 25},
}
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    may("namespaces, which root may make", available=has_containers())
    folder = tmp_path_factory.mktemp("image")
    yield build(folder)
    shutil.rmtree(folder)


def test_the_image_holds_the_program_and_nothing_of_its_making(image):
    assert not (image.folder / "src").exists()
    assert not list((image.folder / "opt/plaudit").rglob("pip"))
    assert not list((image.folder / "opt/plaudit").glob("lib/*/site-packages/tests"))
    assert {one.name for one in (image.folder / "data").iterdir()} == set()


def test_the_image_alone_serves_from_its_volume_and_goes_on(image, tmp_path):
    volumes = {"/data": tmp_path / "data"}
    output = tmp_path / "output"
    api = ("127.0.0.1", free_port())
    environ = {"PLAUDIT_PORT": str(api[1])}
    command = default_command(image)
    for start in (1, 2):
        container = Container(image, output, command, environ, volumes)
        try:
            container.wait_until_well(API_CHECK)
            assert container.execute("id", "-u").stdout.strip() == image.user[0]
            assert container.execute("touch", "/x", check=False).returncode == 1
            stored = container.execute("cat", "/data/credentials.json").stdout
            sent = key_headers(json.loads(stored))
            wait_for(lambda: ask(api, "GET", "/ready")[0] == 200, "a ready worker")
            for number in range(1, start + 1):
                # What the first start took counts at the second: its volume is kept.
                body = PURCHASE | {"eventId": f"of start {number}"}
                status, _, taken = ask(api, "POST", ACTIONS, body, sent)
                assert status == 202
                assert taken["data"]["duplicate"] is (number < start)
            assert container.stop() == 0
        finally:
            container.kill()
    assert "Traceback" not in output.read_text()
    assert {one.stat().st_uid for one in (tmp_path / "data").iterdir()} == {
        int(image.user[0])
    }


@pytest.fixture
def composition(image, tmp_path):
    need(JAVA, available=jars.is_available())
    need(redis_server.REDIS, available=redis_server.is_available())
    may("namespaces, which root may make", available=has_namespaces())
    jars.fetch_jars()
    environ = scratch_environ(
        KAFKA_CLUSTER_ID=CLUSTER_ID, REDIS_MAXMEMORY="256mb", PLAUDIT_PARTITIONS="4"
    )
    made = Composition(image, tmp_path, environ)
    yield made
    made.close()


def test_the_composition_serves_and_outlives_a_worker(composition):
    composition.start_kafka(CLUSTER_ID)
    composition.start_redis()
    for _ in range(2):
        assert composition.start("init").wait() == 0, composition.output("init")
    names = ("worker-1", "worker-2", "api-1", "api-2")
    for name in names:
        composition.start(name)
    composition.wait_until_well(*names)

    def call(name, method, path, body=None, headers=None):
        address = (composition.network.address(name), PORT)
        return ask(address, method, path, body, headers)[::2]

    def is_ready():
        return all(call(name, "GET", "/ready")[0] == 200 for name in names[2:])

    def has_counted(name):
        status, found = call(name, "GET", "/v1/api/audience/profile", headers=bearer)
        return status == 200 and "createdAt" in found["data"]

    wait_for(is_ready, "two APIs that are ready")
    api = composition.running["api-1"]
    keys = json.loads(api.execute("cat", "/data/credentials.json").stdout)
    scopes = "loyalty:read,loyalty:write,audience:read"
    words = ["plaudit", "token", "--org", keys["orgId"], "--sub", "alice"]
    token = api.execute(*words, "--scope", scopes).stdout.strip()
    bearer = {"X-Org-ID": keys["orgId"], "Authorization": f"Bearer {token}"}

    body = PURCHASE | {"eventId": "first"}
    assert call("api-1", "POST", ACTIONS, body, key_headers(keys))[0] == 202
    wait_for(lambda: has_counted("api-2"), "what one API took, read from the other")

    composition.running["worker-1"].kill()
    users = [f"user-{n}" for n in range(20)]
    for user in users:
        action = PURCHASE | {"userId": user, "eventId": user}
        assert call("api-2", "POST", ACTIONS, action, key_headers(keys))[0] == 202

    def have_counted():
        listed = f"/v1/api/audience/internal/profiles?user_ids={','.join(users)}"
        status, found = call("api-1", "GET", listed, headers=key_headers(keys))
        return status == 200 and found["data"]["count"] == len(users)

    wait_for(have_counted, "what was sent after a worker's end")
    wait_for(is_ready, "all partitions at the worker that is left")
    for name in names[1:]:
        assert "Traceback" not in composition.output(name)
    assert composition.running["worker-2"].stop() == 0

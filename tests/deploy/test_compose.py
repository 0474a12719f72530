"""What can be known of the compositions and the image without a Docker engine."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from api.config import ApiConfig
from plaudit.cli import main
from plaudit.settings import NAMES, Settings, variable
from streams.lock import WorkerLock
from tests.deploy.compose_files import (
    DOCKER,
    ONE,
    THREE,
    Missing,
    bytes_of,
    dockerfile,
    environment,
    example_names,
    filled_in,
    load,
    scratch_environ,
    variables,
)
from tests.servers import need

ROOT = DOCKER.parent
ENDS = {"init"}
"""Services that do their work and end: nothing to look after."""
BOTH = pytest.mark.parametrize("files", [ONE, THREE], ids=["one", "three"])


def plaudit_services(model):
    return {
        name: service
        for name, service in model["services"].items()
        if service["image"].startswith("plaudit:")
    }


@BOTH
def test_plaudit_takes_the_environment_of_every_service(files):
    model = filled_in(load(*files), scratch_environ())
    found = plaudit_services(model)
    assert set(found) == {"init", "worker-1", "worker-2", "api-1", "api-2"}
    for service in found.values():
        names = {name for name in service["environment"] if name.startswith("PLAUDIT_")}
        assert names <= {variable(name) for name in NAMES}
        settings = Settings.from_env(environment(service))
        assert settings.kafka_replication == (1 if files == ONE else 3)
        assert settings.kafka.has_sasl
        assert settings.redis_url.endswith("@redis:6379/0")


@BOTH
def test_every_service_is_looked_after_and_bounded(files):
    for name, service in load(*files)["services"].items():
        assert service["restart"] == ("no" if name in ENDS else "unless-stopped"), name
        health = service["healthcheck"]
        assert health.get("disable", False) is (name in ENDS), name
        assert name in ENDS or {"test", "interval", "timeout"} <= set(health), name
        assert bytes_of(filled_in(service["mem_limit"], {})) >= 256 << 20, name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["cap_drop"] == ["ALL"], name
        assert not service.get("privileged"), name


@BOTH
def test_services_wait_for_what_they_need(files):
    services = load(*files)["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services, name
            wanted = "completed_successfully" if other in ENDS else "healthy"
            assert how == {"condition": f"service_{wanted}"}, name
    brokers = {name for name in services if name.startswith("kafka")}
    assert len(brokers) == (1 if files == ONE else 3)
    for name in plaudit_services({"services": services}):
        assert brokers <= set(services[name]["depends_on"]), name


@BOTH
def test_every_variable_is_in_the_example_and_the_other_way_round(files):
    must, may = example_names()
    assert not set(must.values()) - {""}, "no value that somebody might keep"
    asked = list(variables(load(*files)["services"]))
    assert {name for name, how, _ in asked if how == ":?"} == set(must)
    assert {name for name, how, _ in asked if how != ":?"} == set(may)
    for name, how, rest in asked:
        if how == ":-":
            assert rest == may[name], f"{name}: the example says another default"


@pytest.mark.parametrize("name", example_names()[0])
def test_a_missing_variable_is_named_with_what_to_do(name):
    with pytest.raises(Missing, match=rf"{name}: set it in docker/\.env, see"):
        filled_in(load(*ONE), scratch_environ(**{name: ""}))


@BOTH
def test_no_password_is_written_down(files):
    secret = re.compile(r"(?i)(password|secret|requirepass|_key\b|CLUSTER_ID)")
    written = re.compile(r'(?i)password="(?!\$\{)|://[^/@$]*:[^$@]+@')
    for name, service in load(*files)["services"].items():
        for key, value in service.get("environment", {}).items():
            if secret.search(key) and value is not None:
                assert re.match(r"\$\{[A-Z_]+:\?", value), (name, key)
            assert not written.search(str(value)), (name, key)
        # A command line is seen by everybody on the machine.
        words = " ".join(service.get("command", []))
        asked = {variable for variable, _, _ in variables(words)}
        assert not [word for word in asked if secret.search(word)], name


@BOTH
def test_volumes_are_declared_and_each_worker_has_its_own(files):
    model = load(*files)
    folders = []
    for name, service in model["services"].items():
        for mount in service.get("volumes", []):
            source, target, *_ = mount.split(":")
            if source.startswith("."):
                assert (DOCKER / source).is_file(), mount
            else:
                assert source in model["volumes"], mount
            if name.startswith("worker") and target == "/data":
                folders.append(source)
            if name.startswith("kafka"):
                folders.append(source)
    assert len(folders) == len(set(folders)) == (3 if files == ONE else 5)


def test_the_further_worker_of_the_guide_is_a_good_service():
    text = (DOCKER / "README.md").read_text()
    shown = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    ((name, service),) = shown["services"].items()
    base = service["extends"]
    known = load(base["file"])["services"]
    assert name not in known
    assert base["service"] in known
    assert service["volumes"] == [f"{name}:/data"]
    assert name in shown["volumes"]
    cluster = environment(load(*THREE)["services"][base["service"]])
    assert service["environment"].items() <= cluster.items()


def test_a_cluster_of_three_has_three_copies():
    services = load(*THREE)["services"]
    voters = set()
    for name in ("kafka", "kafka-2", "kafka-3"):
        found = environment(services[name])
        voters.add(f"{found['KAFKA_NODE_ID']}@{name}:9093")
        assert f"CLIENTS://{name}:9092" in found["KAFKA_ADVERTISED_LISTENERS"]
        assert services[name]["hostname"] == name
        for key, value in found.items():
            if key.endswith("REPLICATION_FACTOR"):
                assert value == "3", key
            if key.endswith(("MIN_ISR", "MIN_INSYNC_REPLICAS")):
                assert value == "2", key
    assert set(found["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")) == voters


def test_only_what_knows_a_password_reaches_a_broker():
    found = environment(load(*ONE)["services"]["kafka"])
    pairs = [
        one.split(":")
        for one in found["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    ]
    for name, protocol in pairs:
        if protocol != "SASL_PLAINTEXT":
            assert f"{name}://127.0.0.1:" in found["KAFKA_LISTENERS"]


def test_the_broker_is_the_one_that_the_tests_run():
    pom = (DOCKER / "kafka" / "pom.xml").read_text()
    version = re.search(r"<kafka.version>(.*)</kafka.version>", pom)[1]
    assert load(*ONE)["services"]["kafka"]["image"] == f"apache/kafka:{version}"


def test_the_image_has_the_version_of_the_program():
    version = re.search(
        r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M
    )
    assert example_names()[1]["PLAUDIT_VERSION"] == version[1]


def test_redis_refuses_before_it_is_killed_and_keeps_no_password_in_sight():
    redis = filled_in(load(*ONE)["services"]["redis"], scratch_environ())
    limit = bytes_of(redis["mem_limit"])
    assert bytes_of(environment(redis)["REDIS_MAXMEMORY"]) <= limit * 3 / 4
    assert "maxmemory-policy noeviction" in " ".join(redis["command"])


def test_the_command_of_redis_starts_a_server_that_asks_for_the_password(tmp_path):
    need("redis-server", available=shutil.which("redis-server") is not None)
    redis = filled_in(load(*ONE)["services"]["redis"], scratch_environ())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words = [word.replace("$$", "$") for word in redis["command"]]
    # On loopback alone, and on a port of its own.
    words[-1] = words[-1].replace("bind * -::*", f"bind 127.0.0.1\\nport {port}")
    environ = {"PATH": os.environ["PATH"], **environment(redis)}
    server = subprocess.Popen(
        words,
        env=environ,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    check = redis["healthcheck"]["test"]
    assert check[0] == "CMD-SHELL"
    shell = check[1].replace("$$", "$").replace("redis-cli", f"redis-cli -p {port}")
    try:
        deadline = time.monotonic() + 20
        while subprocess.run(["sh", "-c", shell], env=environ, check=False).returncode:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        refused = subprocess.run(
            ["redis-cli", "-p", port, "ping"],
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "NOAUTH" in refused.stdout
        cmdline = Path(f"/proc/{server.pid}/cmdline").read_text()
        assert environ["REDIS_PASSWORD"] not in cmdline
    finally:
        # A shell and what it started.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_prometheus_asks_both_apis_and_loads_the_alerts():
    config = yaml.safe_load((DOCKER / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    apis = {
        f"{name}:8400" for name in load(*ONE)["services"] if name.startswith("api-")
    }
    assert set(job["static_configs"][0]["targets"]) == apis
    metrics = (ROOT / "api" / "metrics.py").read_text()
    for name in config["rule_files"]:
        for group in yaml.safe_load((DOCKER / name).read_text())["groups"]:
            for rule in group["rules"]:
                for metric in re.findall(r"plaudit_\w+", rule["expr"]):
                    assert f'"{metric}"' in metrics, metric


def alerts():
    groups = yaml.safe_load((DOCKER / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_every_alert_is_in_the_operator_guide_and_says_what_it_is_about():
    guide = (ROOT / "docs" / "operator.md").read_text()
    assert "plaudit_snapshot_failures" in alerts()["PlauditSnapshotsFail"]["expr"]
    for name, rule in alerts().items():
        assert f"| `{name}` |" in guide, name
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert rule["annotations"]["summary"], name


def test_the_gateway_knows_both_apis_and_keeps_secrets_out_of_its_log():
    text = (DOCKER / "Caddyfile").read_text()
    services = load(*ONE)["services"]
    apis = [f"{name}:8400" for name in services if name.startswith("api-")]
    assert f"reverse_proxy {' '.join(apis)} " in text
    assert "request>headers delete" in text
    # Or a body that one API did not take cannot be sent to the other.
    buffered = re.search(r"request_buffers (\d+)MB", text)
    assert int(buffered[1]) * 1_000_000 > ApiConfig().body_bytes_max


def test_the_image_runs_as_nobody_in_particular():
    last = {}
    for word, rest in dockerfile():
        if word == "FROM":
            last = {}
        last[word] = rest
    user = last["USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    uid = user.split(":")[0]
    assert f"--uid {uid} " in (DOCKER / "Dockerfile").read_text()
    assert last["ENTRYPOINT"] == '["plaudit"]'
    assert last["VOLUME"] == "/data"
    (command,) = yaml.safe_load(last["CMD"])
    assert command in main.list_commands(None)
    assert "healthcheck.py" in last["HEALTHCHECK"]


def test_the_image_copies_what_there_is_and_what_the_build_may_see():
    shown = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    assert shown[1] == "*"
    copied = set()
    for word, rest in dockerfile():
        if word in ("COPY", "ADD"):
            *sources, _target = rest.split()
            if not sources[0].startswith("--from="):
                copied |= {source for source in sources if not source.startswith("--")}
    assert copied == {line[1:] for line in shown if line.startswith("!")}
    for source in copied:
        assert (ROOT / source).exists(), source
    packages = re.search(
        r"^include = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.M
    )
    for package in yaml.safe_load(packages[1]):
        assert package.rstrip("*") in copied


@pytest.mark.parametrize("files", [ONE, THREE])
def test_every_command_of_plaudit_exists(files):
    for service in plaudit_services(load(*files)).values():
        name, *words = filled_in(service["command"], scratch_environ())
        command = main.get_command(None, name)
        command.make_context(name, list(words))


def healthcheck(what, **environ):
    done = subprocess.run(
        [sys.executable, DOCKER / "healthcheck.py", what],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


class Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_the_health_of_an_api_is_its_answer():
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = str(server.server_port)
        assert healthcheck("api", PLAUDIT_PORT=port) == (0, "well\n")
        server.shutdown()
    code, text = healthcheck("api", PLAUDIT_PORT=port)
    assert (code, "does not answer" in text) == (1, True)


def test_the_health_of_a_worker_is_its_lock_and_its_processes(tmp_path):
    folder = {"PLAUDIT_DATA_DIR": str(tmp_path)}
    assert healthcheck("worker", **folder)[0] == 1
    with WorkerLock(tmp_path):
        assert healthcheck("worker", **folder) == (0, "well\n")
        for index in (0, 1):
            (tmp_path / f"worker-{index}.alive").touch()
        assert healthcheck("worker", **folder) == (0, "well\n")
        long_ago = time.time() - 1_000
        os.utime(tmp_path / "worker-1.alive", (long_ago, long_ago))
        code, text = healthcheck("worker", **folder)
        assert (code, "worker-1 has not been heard of" in text) == (1, True)
    code, text = healthcheck("worker", **folder)
    assert (code, "no worker holds" in text) == (1, True)

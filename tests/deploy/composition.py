"""The services of compose.yml as hosts of a network, Kafka and Redis as installed here.

Commands, variables and volumes are as they are written. The gateway and Prometheus are
left out.
"""

import contextlib
import logging
import subprocess
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from docker.kafka import jars
from tests.deploy.compose_files import ONE, environment, filled_in, load
from tests.deploy.containers import (
    Container,
    Network,
    broker_properties,
    host_process,
)

PROGRAM_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 2
QUIET = logging.Logger("nobody answers yet: that is no news", logging.CRITICAL)


def wait_for(question, what, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not (found := question()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


class Composition:
    """Some of the services, started one by one."""

    def __init__(self, image, folder, environ):
        self._image = image
        self._folder = folder
        self.services = filled_in(load(*ONE), environ)["services"]
        self.network = Network(folder, self.services)
        self.running = {}

    def start(self, name):
        """Start a service of the image on its volumes."""
        service = self.services[name]
        mounts = [one.split(":")[:2] for one in service["volumes"]]
        self.running[name] = Container(
            self._image,
            self._folder / f"{name}.out",
            service["command"],
            environment(service),
            {there: self._folder / volume for volume, there in mounts},
            (self.network, name),
        )
        return self.running[name]

    def wait_until_well(self, *names):
        """Wait for the health checks of services."""
        for name in names:
            kind, *words = self.services[name]["healthcheck"]["test"]
            assert kind == "CMD"
            self.running[name].wait_until_well(words)

    def start_kafka(self, cluster_id):
        """Format and start the broker; return when it lets Plaudit in."""
        found = environment(self.services["kafka"])
        properties = self._folder / "server.properties"
        data = self._folder / "kafka"
        text = "\n".join(broker_properties(found | {"KAFKA_LOG_DIRS": str(data)}))
        properties.write_text(text.replace("cluster.id=", "#"))
        java = ["java", "-Xmx512m", "-cp", str(jars.JARS / "*")]
        options = ["format", "-t", cluster_id, "-c", str(properties)]
        subprocess.run(
            [*java, "kafka.tools.StorageTool", *options],
            check=True,
            capture_output=True,
            timeout=PROGRAM_TIMEOUT_S,
        )
        self._start_here("kafka", [*java, "kafka.Kafka", str(properties)], found)
        plaudit = environment(self.services["api-1"])
        client = AdminClient(
            {
                "bootstrap.servers": f"{self.network.address('kafka')}:9092",
                "security.protocol": plaudit["PLAUDIT_KAFKA_SECURITY_PROTOCOL"],
                "sasl.mechanism": plaudit["PLAUDIT_KAFKA_SASL_MECHANISM"],
                "sasl.username": plaudit["PLAUDIT_KAFKA_SASL_USERNAME"],
                "sasl.password": plaudit["PLAUDIT_KAFKA_SASL_PASSWORD"],
                "logger": QUIET,
            }
        )

        def lets_in():
            try:
                return client.list_topics(timeout=ANSWER_TIMEOUT_S).brokers
            except KafkaException:
                return False

        wait_for(lets_in, "a broker that lets Plaudit in")

    def start_redis(self):
        """Start Redis as its service says."""
        redis = self.services["redis"]
        words = [word.replace("$$", "$") for word in redis["command"]]
        self._start_here("redis", words, environment(redis))

    def _start_here(self, name, words, environ):
        self.running[name] = host_process(
            self.network,
            name,
            words,
            output=self._folder / f"{name}.out",
            environ=environ,
            folder=self._folder,
        )

    def output(self, name):
        """Return what a service has said so far."""
        return (self._folder / f"{name}.out").read_text()

    def close(self):
        """End everything at once; also what comes after something that fails."""
        with contextlib.ExitStack() as ending:
            ending.callback(self.network.close)
            for one in self.running.values():
                ending.callback(one.wait)
                ending.callback(one.kill)

"""A real API process, which can be killed, and a client that says what it heard."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.request

from docker.ports import free_port
from tests.crash.worker import DEADLINE_S, credentials, wait_until


def key_headers(keys):
    """Return the headers that a `credentials.json` is for."""
    return {
        "X-Org-ID": keys["orgId"],
        "X-API-Key": keys["apiKey"],
        "X-API-Secret": keys["apiSecret"],
    }


def ask(address, method, path, body=None, headers=None):
    """Return (status, headers, body) of an API's answer.

    Raises:
      OSError: There was no whole answer; the request may have been done.
    """
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        text = None if body is None else json.dumps(body)
        sent = {"Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, text, sent)
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read() or b"null")
    except (http.client.HTTPException, ValueError) as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


class Api:
    """An API process and the server processes it starts; ended with the block."""

    def __init__(self, data_dir, port=None):
        self.data_dir = data_dir
        self.port = port or free_port()
        self._out = data_dir.with_name(f"{data_dir.name}.api.out").open("ab")
        self.start()

    def start(self):
        command = ["-m", "plaudit", "api", "--data-dir", str(self.data_dir)]
        self.process = subprocess.Popen(
            [sys.executable, *command, "--port", str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._out,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.kill()
        self._out.close()

    def kill(self):
        """kill -9 of all its processes; they may have ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE_S)

    def wait_until_it_answers(self):
        wait_until(self._answers, self, "an answer of the API")

    def _answers(self):
        try:
            return self.call("GET", "/health")[0] == 200
        except OSError:
            return False

    def call(self, method, path, body=None, headers=None):
        """Return (status, body); see `ask`."""
        status, _headers, answer = self.ask(method, path, body, headers)
        return status, answer

    def ask(self, method, path, body=None, headers=None):
        """Return (status, headers, body); see `ask`."""
        keys = credentials(self.data_dir)
        sent = key_headers(keys) | (headers or {})
        return ask(("127.0.0.1", self.port), method, path, body, sent)

    def text(self, path):
        """Return the body of a GET that is no JSON."""
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()

    def ready(self):
        """Return (status, partitions by name) of `GET /ready`."""
        status, body = self.call("GET", "/ready")
        found = {
            f"{one['topic']}/{one['partition']}": one
            for one in body["data"]["partitions"]
        }
        return status, body["data"]["status"], found

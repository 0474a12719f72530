"""A real `plaudit run` in a folder and on a port of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from docker.ports import free_port

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 120


def command(*arguments, environ=None, check=True):
    """Run a `plaudit` command to its end and return it."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "plaudit", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        env={**os.environ, **(environ or {})},
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def eventually(look, timeout_s=30.0):
    """Look until there is something true, and return it."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return found


def is_alive(pid):
    """Tell whether a process runs; one that is only not waited for does not."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        )
    except FileNotFoundError:
        return False


class Running:
    """The processes of one `plaudit run`."""

    def __init__(self, data_dir, *options, environ=None, port=None):
        self.data_dir = data_dir
        self.port = port or free_port()
        self.lines = []
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "plaudit", "run"),
                *("-d", str(data_dir), "--port", str(self.port), *options),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environ or {})},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        with self.process.stderr as lines:
            self.lines.extend(iter(lines.readline, ""))

    def __enter__(self):
        self.wait_for("listens on")
        return self

    def __exit__(self, *_):
        self.stop()

    def wait_for(self, text, timeout_s=START_TIMEOUT_S):
        """Wait until the process has said something."""

        def said():
            assert self.process.poll() is None or text in self.said, self.said
            return text in self.said

        eventually(said, timeout_s)

    @property
    def said(self):
        return "".join(self.lines)

    def stop(self, number=signal.SIGTERM):
        """Stop it and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(STOP_TIMEOUT_S)
        return code

    @property
    def credentials(self):
        return json.loads((self.data_dir / "credentials.json").read_text())

    def children(self):
        """Return the process ids of worker and API, by command."""
        found = {}
        for status in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = status.read_bytes().decode().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if words[-2:-1] == [str(self.process.pid)] and "--parent-pid" in words:
                found.setdefault(words[4], []).append(int(status.parent.name))
        return found

    def call(self, method, path, body=None, *, token=None, headers=None, org=None):
        """Call the API; return (status, headers, body as JSON)."""
        keys = self.credentials
        sent = {"X-Org-ID": org or keys["orgId"], "Content-Type": "application/json"}
        if token is None:
            sent |= {"X-API-Key": keys["apiKey"], "X-API-Secret": keys["apiSecret"]}
        else:
            sent["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(
            f"{keys['url']}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=sent | (headers or {}),
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return answer.status, answer.headers, json.loads(text or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, json.loads(error.read())

    def create_campaign(self, points=10):
        """Create a campaign that gives points for a visit."""
        status, _headers, body = self.call(
            "POST",
            "/loyalty/v1/campaigns",
            {
                "name": "Visits",
                "type": "Reward",
                "mode": "always-on",
                "status": "active",
                "triggers": [{"eventType": "visit"}],
                "effects": [{"type": "add_points", "amount": points}],
            },
            token=self.credentials["adminToken"],
        )
        assert status == 201, body
        return body["data"]["campaignId"]

    def visit(self, user, event_id):
        """Report a visit; return the position for reads that are to see it."""
        status, headers, body = self.call(
            "POST",
            "/v1/api/audience/internal/actions",
            {"userId": user, "action": "visit", "eventId": event_id},
        )
        assert status == 202, body
        return headers["X-Plaudit-Position"]

    def points(self, user, position):
        """Return a user's points once a position is folded, however long it takes."""

        def look():
            status, _headers, body = self.call(
                "GET",
                f"/v1/api/audience/internal/profiles?user_ids={user}",
                headers={"X-Plaudit-Position": position},
            )
            return body if status == 200 else None

        (profile,) = eventually(look)["data"]["profiles"]
        return profile["points"]

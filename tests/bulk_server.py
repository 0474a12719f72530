"""A small HTTP server that takes bulk requests and answers as a test tells it to."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec


class BulkServer:
    """Keeps what was sent; counts ids as the engine does."""

    def __init__(self, answers=()):
        self.answers = list(answers)
        self.requests = []
        self.bodies = []
        self.applied = {}
        self.tallies = {}
        self.refuse = lambda action: None
        self.before_answer = lambda number: None
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def take(self, body):
        with self._lock:
            self.bodies.append(body)
            request = msgspec.json.decode(body)
            self.requests.append(request)
            number = len(self.requests)
            status = self.answers.pop(0) if self.answers else 202
            if status in (202, "lost"):
                results = [
                    self._take_one(index, action, request["batchId"])
                    for index, action in enumerate(request["actions"])
                ]
        self.before_answer(number)
        if status != 202:
            return status, {"error": {"code": "TRY", "message": "again"}}
        return 202, {"data": {"results": results}}

    def _take_one(self, index, action, batch_id):
        problem = self.refuse(action)
        if problem:
            error = {"code": "VALIDATION_ERROR", "message": problem, "field": "userId"}
            return {"index": index, "status": "rejected", "error": error}
        tally = self.tallies.setdefault(
            batch_id, {"applied": 0, "duplicate": 0, "tooLate": 0, "refused": 0}
        )
        key = (action["userId"], action["eventId"])
        tally["duplicate" if key in self.applied else "applied"] += 1
        self.applied.setdefault(key, action)
        return {"index": index, "status": "accepted"}

    def _handler(server):  # noqa: N805  # self is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                status, answer = server.take(self.rfile.read(length))
                if status == "lost":
                    self.close_connection = True
                    return
                self._answer(status, answer, {"X-Plaudit-Position": "users-0-7"})

            def do_GET(self):
                tally = server.tallies.get(self.path.rpartition("/")[2])
                if tally is None:
                    self._answer(404, {"error": {"code": "NO", "message": "no"}}, {})
                else:
                    self._answer(200, {"data": tally}, {})

            def _answer(self, status, value, headers):
                text = msgspec.json.encode(value)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                for name, content in headers.items():
                    self.send_header(name, content)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        return Handler

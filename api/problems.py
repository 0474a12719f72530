"""Every error becomes the same envelope here, and nowhere else.

``{"success": false, "error": {"code", "message", "details": [{"field", "message",
"code"}], "requestId"}, "timestamp"}``
"""

import logging
from collections.abc import Mapping, Sequence

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from api.envelope import envelope, request_id
from rules.errors import PlauditError, Rejection
from streams.log import LogUnavailable
from tables.errors import ViewUnavailable

DETAILS_MAX = 20
RETRY_AFTER_S = 1

_log = logging.getLogger(__name__)

# Code and message of the errors that werkzeug raises itself.
_HTTP = {
    400: ("BAD_REQUEST", "The request cannot be read"),
    404: ("NOT_FOUND", "There is nothing here"),
    405: ("METHOD_NOT_ALLOWED", "This method is not allowed here"),
    413: ("PAYLOAD_TOO_LARGE", "The body is too large"),
}


class Problem(PlauditError):
    """A request that is answered with an error. The caller corrects it."""

    def __init__(
        self,
        status: int,
        rejection: Rejection,
        *,
        details: Sequence[Rejection] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare an answer.

        Args:
          status: HTTP status, 400..599.
          rejection: The code and the message.
          details: What is wrong, one for each field; empty: the rejection, if it
            names a field.
          headers: Headers to send along.
        """
        super().__init__(rejection.message)
        self.status = status
        self.rejection = rejection
        self.details = list(details) or [rejection] * (rejection.field is not None)
        self.headers = dict(headers or {})


def bad_request(
    message: str, field: str | None = None, code: str = "VALIDATION_ERROR"
) -> Problem:
    """Return a 400."""
    return Problem(400, Rejection(code, message, field))


def not_found(code: str, message: str) -> Problem:
    """Return a 404."""
    return Problem(404, Rejection(code, message))


def unavailable(message: str) -> Problem:
    """Return a 503 that asks to try again."""
    return Problem(
        503,
        Rejection("SERVICE_UNAVAILABLE", message),
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def refusal(problems: Sequence[Rejection]) -> Problem:
    """Return a 400 with every problem found, at least one; the first gives the code."""
    return Problem(400, problems[0], details=problems)


def refuse_all(problems: Sequence[Rejection]) -> None:
    """Raise a 400 with every problem found; the first gives the code."""
    if problems:
        raise refusal(problems)


def error_json(
    rejection: Rejection, details: Sequence[Rejection] = ()
) -> dict[str, object]:
    """Return the ``error`` object: code, message and details."""
    return {
        "code": rejection.code,
        "message": rejection.message,
        "details": [
            {"field": item.field, "message": item.message, "code": item.code}
            for item in details[:DETAILS_MAX]
        ],
    }


def _answer(problem: Problem) -> Response:
    error = error_json(problem.rejection, problem.details)
    error["requestId"] = request_id()
    response = envelope({"success": False, "error": error}, problem.status)
    response.headers.update(problem.headers)
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status >= 500:
        return _unexpected(error)
    code, message = _HTTP.get(status, _HTTP[400])
    problem = Problem(status, Rejection(code, message))
    allow = getattr(error, "valid_methods", None)
    if allow:
        problem.headers["Allow"] = ", ".join(sorted(allow))
    return _answer(problem)


def _log_unavailable(error: LogUnavailable) -> Response:
    return _answer(
        unavailable(
            "The log does not answer in time; what was sent may still be stored, so "
            "send it again under the same id"
        )
    )


def _view_unavailable(error: ViewUnavailable) -> Response:
    return _answer(unavailable("The tables are starting; try again shortly"))


def _unexpected(error: Exception) -> Response:
    # The endpoint is a name of ours; the path and the body are the caller's, so they
    # stay out of the log.
    _log.error(
        "request %s to %s failed", request_id(), request.endpoint, exc_info=error
    )
    return _answer(
        Problem(500, Rejection("INTERNAL_ERROR", "Something went wrong on our side"))
    )


def install(app: Flask) -> None:
    """Answer every error of an app with the envelope."""
    app.register_error_handler(Problem, _answer)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(LogUnavailable, _log_unavailable)
    app.register_error_handler(ViewUnavailable, _view_unavailable)
    app.register_error_handler(Exception, _unexpected)

"""One route: who may call it, what it takes and what it answers.

The declaration that lets a caller in is the one that api/openapi.py describes, so the
document cannot promise what the code does not ask for.
"""

from collections.abc import Callable, Mapping
from functools import update_wrapper

from flask import Response, request

from api.auth import OPEN, Access, authenticate
from api.positions import wait_for_positions


class Operation:
    """A view function with its declaration. Flask calls it like the function."""

    __name__: str

    def __init__(
        self,
        view: Callable[..., Response],
        access: Access,
        *,
        answers: Mapping[int, str | None],
        body: str | None,
        query: tuple[str, ...],
        refuses: tuple[int, ...],
    ) -> None:
        """Wrap a function; see `operation` for the arguments."""
        update_wrapper(self, view)
        self.view = view
        self.access = access
        self.answers = answers
        self.body = body
        self.query = query
        self.refuses = refuses

    def __call__(self, **path: str) -> Response:
        """Let the caller in, wait for its position on a read, and run the function."""
        caller = authenticate(self.access)
        if self.access is not OPEN and request.method in ("GET", "HEAD"):
            wait_for_positions()
        return self.view(caller, **path)


def operation(
    access: Access,
    *,
    answers: Mapping[int, str | None],
    body: str | None = None,
    query: tuple[str, ...] = (),
    refuses: tuple[int, ...] = (),
) -> Callable[[Callable[..., Response]], Operation]:
    """Declare a route's function, which takes the `Caller`, then the path's parts.

    Args:
      access: Who may call it.
      answers: Success status -> name of the schema of its body (of ``data`` where the
        answer has an envelope); None: no body.
      body: Schema of the request's body.
      query: Names of query parameters (components of the OpenAPI document).
      refuses: Error statuses beyond those that the access and the body imply.
    """

    def wrap(view: Callable[..., Response]) -> Operation:
        return Operation(
            view, access, answers=answers, body=body, query=query, refuses=refuses
        )

    return wrap

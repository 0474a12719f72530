"""The Flask app: blueprints, hooks, and nothing else."""

import re
import threading
import time
import uuid

from flask import Blueprint, Flask, Response, g, request

from api import (
    actions,
    audience,
    campaigns,
    commands,
    health,
    metrics,
    openapi,
    problems,
    rules,
    segments,
)
from api.config import ApiConfig
from api.ends import EndOffset, LogEnds
from api.json import ExactJson
from api.secrets import SecretBox
from api.services import ClockMs, Services, services
from api.turns import Turns, outcomes_max, readers_max, writers_max
from streams.log import MessageWriter
from tables.clock import wall_clock_ms
from tables.views import ReadView

AUDIENCE = "/v1/api/audience"
LOYALTY = "/loyalty/v1"
THREADS = 64
"""Of a server that says nothing else."""
AGE_HEADER = "X-Plaudit-Age-Ms"
AGE_SHOWN_MS = 2_000
"""An answer from tables whose owner has been silent for longer says for how long."""

_is_request_id = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch


def create_app(
    config: ApiConfig,
    *,
    writer: MessageWriter,
    view: ReadView,
    secrets: SecretBox,
    end_offset: EndOffset,
    clock_ms: ClockMs = wall_clock_ms,
    threads: int = THREADS,
) -> Flask:
    """Return the app that serves all routes.

    Args:
      config: Settings.
      writer: Appends messages to the log.
      view: Reads the tables.
      secrets: Opens the sealed secrets of JWT keys.
      end_offset: (topic, partition) -> offset that the next record will get.
      clock_ms: Wall clock, ms since the Unix epoch.
      threads: Requests that the server answers at the same time.
    """
    app = Flask("api", static_folder=None)
    app.json = ExactJson(app)
    # One more than the limit, so that api/body.py can tell a body that was cut off.
    app.config["MAX_CONTENT_LENGTH"] = config.body_bytes_max + 1
    # A doubled slash is a path like any other, not a redirect with a page of HTML.
    app.url_map.merge_slashes = False
    held = Services(
        config=config,
        writer=writer,
        view=view,
        secrets=secrets,
        end_offset=end_offset,
        ends=LogEnds(end_offset),
        clock_ms=clock_ms,
        uploads=threading.BoundedSemaphore(config.uploads_max),
        writes=Turns(writers_max(threads)),
        position_waits=Turns(readers_max(threads)),
        outcome_waits=Turns(outcomes_max(threads)),
    )
    held.install(app)
    app.before_request(_begin)
    app.after_request(_finish)
    metrics.install(app, held)
    health.install(app, held)
    problems.install(app)
    app.register_blueprint(
        _family("audience", actions.blueprint, commands.blueprint, audience.blueprint),
        url_prefix=AUDIENCE,
    )
    app.register_blueprint(
        _family("loyalty", campaigns.blueprint, rules.blueprint, segments.blueprint),
        url_prefix=LOYALTY,
    )
    for blueprint in (health.blueprint, metrics.blueprint, openapi.blueprint):
        app.register_blueprint(blueprint)
    return app


def _family(name: str, *parts: Blueprint) -> Blueprint:
    family = Blueprint(name, __name__)
    for part in parts:
        family.register_blueprint(part)
    return family


def _begin() -> None:
    g.began = time.perf_counter()
    g.now_ms = services().clock_ms()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _is_request_id(given) else f"req_{uuid.uuid4().hex}"


def _finish(response: Response) -> Response:
    age_ms = services().view.age_ms()
    if age_ms > AGE_SHOWN_MS:
        response.headers[AGE_HEADER] = str(age_ms)
    response.headers["X-Request-ID"] = g.request_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response

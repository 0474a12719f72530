"""The OpenAPI 3.1 document, built from the routes' own declarations.

What a route takes, asks for and answers stands at its function (api/operation.py); the
shapes stand in components.json.
"""

import inspect
import json
import re
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from flask import Blueprint, Flask, Response, current_app

from api.auth import OPEN, Access, Caller, Credential
from api.json import encode
from api.operation import Operation, operation
from rules.message import JsonObject

blueprint = Blueprint("openapi", __name__)

_KEY = "plaudit-openapi"
_INFO = {
    "title": "Plaudit",
    "version": version("plaudit"),
    "description": (
        "Loyalty and gamification: actions in, exact balances out. Every answer but "
        "the metrics and this document has the envelope {success, data, timestamp}, "
        "every error {success, error, timestamp}."
    ),
}
_JSON = "application/json"
# Answers without the envelope, by schema.
_BARE = {"Metrics": "text/plain", "OpenApi": _JSON}
_SUMMARIES = {
    200: "Done",
    201: "Created",
    202: "Accepted: stored, not yet decided or folded",
    204: "Done; no body",
    400: "The request is wrong; `error.details` names the fields",
    401: "Credentials are missing or not valid",
    403: "Another org's credentials, or a missing scope",
    404: "There is no such thing",
    409: "It conflicts with what is there",
    413: "The body is too large",
    500: "Our mistake",
    503: "Not available just now; try again",
}


def _reference(kind: str, name: str) -> JsonObject:
    return {"$ref": f"#/components/{kind}/{name}"}


def _security(access: Access) -> list[JsonObject]:
    scopes = [] if access.scope is None else [access.scope]
    ways: list[JsonObject] = []
    if access.credential in (Credential.TOKEN, Credential.TOKEN_OR_KEY):
        ways.append({"token": scopes})
    if access.credential in (Credential.KEY, Credential.TOKEN_OR_KEY):
        ways.append({"apiKey": scopes, "apiSecret": []})
    return ways


def _error_statuses(route: Operation, method: str) -> list[int]:
    statuses = {500, *route.refuses}
    if route.access is not OPEN:
        statuses |= {400, 401, 403, 503}
    if method != "get":
        statuses |= {400}
    if route.body is not None:
        statuses |= {413}
    return sorted(statuses - set(route.answers))


def _answer(status: int, schema: str | None, method: str) -> JsonObject:
    headers = {"X-Request-ID": _reference("headers", "RequestId")}
    answer: JsonObject = {"description": _SUMMARIES[status], "headers": headers}
    if method == "get":
        headers["X-Plaudit-Age-Ms"] = _reference("headers", "Age")
    else:
        headers["X-Plaudit-Position"] = _reference("headers", "Position")
    if schema == "Command" and status == 202:
        headers["Location"] = _reference("headers", "Location")
    if schema is None:
        return answer
    shape = _reference("schemas", schema)
    if schema not in _BARE:
        shape = {
            "type": "object",
            "required": ["success", "data", "timestamp"],
            "properties": {
                "success": {"const": True},
                "data": shape,
                "timestamp": _reference("schemas", "Instant"),
            },
            "additionalProperties": False,
        }
    answer["content"] = {_BARE.get(schema, _JSON): {"schema": shape}}
    return answer


def _refusal(status: int) -> JsonObject:
    headers = {"X-Request-ID": _reference("headers", "RequestId")}
    if status == 503:
        headers["Retry-After"] = _reference("headers", "RetryAfter")
    return {
        "description": _SUMMARIES[status],
        "headers": headers,
        "content": {_JSON: {"schema": _reference("schemas", "Problem")}},
    }


def _parameters(path: list[str], route: Operation, method: str) -> list[JsonObject]:
    parameters: list[JsonObject] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in path
    ]
    parameters += [_reference("parameters", name) for name in route.query]
    if route.access is not OPEN:
        parameters.append(_reference("parameters", "Org"))
        header = "Position" if method == "get" else "IdempotencyKey"
        parameters.append(_reference("parameters", header))
    return parameters


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def _describe(route: Operation, path: list[str], method: str, tag: str) -> JsonObject:
    text = inspect.cleandoc(route.view.__doc__ or "")
    summary, _, description = text.partition("\n\n")
    responses = {
        str(status): _answer(status, schema, method)
        for status, schema in route.answers.items()
    }
    for status in _error_statuses(route, method):
        responses[str(status)] = _refusal(status)
    described: JsonObject = {
        "operationId": _camel(route.view.__name__),
        "tags": [tag],
        "summary": " ".join(summary.split()),
        "security": _security(route.access),
        "parameters": _parameters(path, route, method),
        "responses": responses,
    }
    if description:
        described["description"] = " ".join(description.split())
    if route.body is not None:
        schema = _reference("schemas", route.body)
        content = {_JSON: {"schema": schema}}
        described["requestBody"] = {"required": True, "content": content}
    return described


@lru_cache(maxsize=1)
def _components() -> Any:
    return json.loads(files("api").joinpath("components.json").read_text("utf-8"))


def path_of(rule: str) -> str:
    """Return a route's pattern as the document has it: ``/rules/{ruleId}``."""
    return re.sub(r"<(\w+)>", lambda match: f"{{{_camel(match[1])}}}", rule)


def build(app: Flask) -> JsonObject:
    """Return the document of an app's routes."""
    paths: dict[str, JsonObject] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        route = app.view_functions[rule.endpoint]
        if not isinstance(route, Operation):
            continue
        path = path_of(rule.rule)
        names = re.findall(r"{(\w+)}", path)
        for verb in sorted(rule.methods or ()):
            if verb in ("HEAD", "OPTIONS"):
                continue
            method = verb.lower()
            tag = rule.endpoint.split(".")[-2]
            described = _describe(route, names, method, tag)
            paths.setdefault(path, {})[method] = described
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": _components(),
    }


@blueprint.get("/openapi.json")
@operation(OPEN, answers={200: "OpenApi"})
def get_openapi(_caller: Caller) -> Response:
    """Read this document."""
    held = current_app.extensions
    if _KEY not in held:
        held[_KEY] = encode(build(current_app))
    return Response(held[_KEY], mimetype=_JSON)

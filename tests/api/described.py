"""A test client that checks every answer against the OpenAPI document."""

import json

import jsonschema
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from api import openapi

ADAPTER_HOST = "localhost"


class DescribedClient:
    """Sends requests; an answer that the document does not describe fails the test."""

    def __init__(self, app):
        self.app = app
        self.client = app.test_client()
        self.document = json.loads(self.client.get("/openapi.json").data)
        self._validators = {}

    def get(self, path, **more):
        return self.send("GET", path, **more)

    def post(self, path, **more):
        return self.send("POST", path, **more)

    def put(self, path, **more):
        return self.send("PUT", path, **more)

    def patch(self, path, **more):
        return self.send("PATCH", path, **more)

    def delete(self, path, **more):
        return self.send("DELETE", path, **more)

    def send(self, method, path, **more):
        response = self.client.open(path, method=method, **more)
        self._check(method, path.partition("?")[0], response)
        return response

    def _check(self, method, path, response):
        assert response.headers["X-Request-ID"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        described = self._described(method, path)
        if described is None:
            self._validate({"$ref": "#/components/schemas/Problem"}, response)
            return
        answer = described["responses"].get(str(response.status_code))
        assert answer, f"{method} {path} must not answer {response.status_code}"
        if "content" not in answer:
            assert response.data == b""
            return
        media = answer["content"].get(response.mimetype)
        assert media, f"{response.mimetype} is not described"
        if response.mimetype == "application/json":
            self._validate(media["schema"], response)

    def _described(self, method, path):
        adapter = self.app.url_map.bind(ADAPTER_HOST)
        try:
            rule, _ = adapter.match(path, method, return_rule=True)
        except RequestRedirect:
            raise
        except HTTPException:
            return None
        return self.document["paths"][openapi.path_of(rule.rule)][method.lower()]

    def _validate(self, schema, response):
        text = json.dumps(schema, sort_keys=True)
        if text not in self._validators:
            whole = schema | {"components": self.document["components"]}
            self._validators[text] = jsonschema.Draft202012Validator(whole)
        self._validators[text].validate(response.json)

"""The compose files as Compose reads them: merged, extended, variables filled in."""

import re
from pathlib import Path

import yaml

DOCKER = Path(__file__).parents[2] / "docker"
ONE = ("compose.yml",)
THREE = ("compose.yml", "compose.three-brokers.yml")
_VARIABLE = re.compile(
    r"(?<!\$)\$\{(?P<name>[A-Z_]+)(?:(?P<how>:\?|:-)(?P<rest>[^}]*))?\}"
)


class Missing(Exception):
    """A variable that must be set is not."""


def load(*names):
    """Return the model of some files, later ones over earlier ones, as written."""
    model = {}
    for name in names:
        part = yaml.safe_load((DOCKER / name).read_text())
        for service in part["services"].values():
            other = service.pop("extends", None)
            if other is not None:
                base = yaml.safe_load((DOCKER / other["file"]).read_text())
                merged = _merge(base["services"][other["service"]], service)
                service.clear()
                service.update(merged)
        model = _merge(model, part)
    return model


def _merge(base, over):
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            merged[key] = _merge(known, value)
        elif key == "volumes" and isinstance(known, list):
            # By the path in the container.
            mounts = {one.split(":")[1]: one for one in (*known, *value)}
            merged[key] = list(mounts.values())
        else:
            merged[key] = value
    return merged


def variables(value):
    """Yield (name, how, rest) of every variable in a model, as `${NAME:?why}`."""
    if isinstance(value, str):
        for match in _VARIABLE.finditer(value):
            yield match["name"], match["how"], match["rest"]
    elif isinstance(value, dict):
        for key, part in value.items():
            # No value: the variable of that name, where it is set.
            yield from ((key, ":-", "") for _ in range(part is None and key.isupper()))
            yield from variables(part)
    elif isinstance(value, list):
        for part in value:
            yield from variables(part)


def filled_in(value, environ):
    """Return a model with its variables filled in; raises `Missing`."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _value(match, environ), value)
    if isinstance(value, dict):
        return {key: filled_in(part, environ) for key, part in value.items()}
    if isinstance(value, list):
        return [filled_in(part, environ) for part in value]
    return value


def _value(match, environ):
    found = environ.get(match["name"], "")
    if not found and match["how"] == ":?":
        raise Missing(f"{match['name']}: {match['rest']}")
    return found or match["rest"] or ""


def environment(service):
    """Return the variables that a service's processes see."""
    found = service.get("environment", {})
    return {key: value for key, value in found.items() if value is not None}


def example_names():
    """Return (must be set, may be set) of .env.example, each with its value."""
    must, may = {}, {}
    for line in (DOCKER / ".env.example").read_text().splitlines():
        match = re.fullmatch(r"(#?)([A-Z_]+)=(.*)", line)
        if match:
            (may if match[1] else must)[match[2]] = match[3]
    return must, may


def dockerfile():
    """Return the instructions of the Dockerfile as (word, rest), in order."""
    text = (DOCKER / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(" ", 1)) for line in joined.splitlines() if line.strip()]


def bytes_of(text):
    """Return the number of bytes of Docker's and of Redis' sizes."""
    match = re.fullmatch(r"(\d+)([kmg])b?", text)
    return int(match[1]) << {"k": 10, "m": 20, "g": 30}[match[2]]


def scratch_environ(**changed):
    """Return values for all that must be set, none of them alike."""
    must, _ = example_names()
    made = {name: f"value-of-{name.lower()}" for name in must}
    return made | {"PLAUDIT_PARTITIONS": "8", "PLAUDIT_ORG": "acme"} | changed

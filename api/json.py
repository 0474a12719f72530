"""Exact JSON in and out.

In, msgspec decodes and a number with a point or an exponent becomes a `Decimal`, so no
amount passes through a binary float. Out, orjson encodes and a `Decimal` is written as
its own text; what orjson cannot hold (integers beyond 64 bits) goes through msgspec.
"""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import orjson
from flask.json.provider import JSONProvider

from rules.action import field_rejection
from rules.errors import Rejection
from rules.message import JsonObject

DEPTH_MAX = 32
FIELD_NAME_MAX = 128

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, InvalidOperation, RecursionError)
"""What decoding raises where the text is not JSON that Plaudit takes."""

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encode_any = msgspec.json.Encoder(decimal_format="number").encode


def _raw_number(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} is not JSON")


def encode(value: object) -> bytes:
    """Return the JSON text of a value; numbers keep every digit."""
    try:
        return orjson.dumps(value, default=_raw_number)
    except orjson.JSONEncodeError:
        return _encode_any(value)


def encoded(value: object) -> orjson.Fragment:
    """Return a value as its JSON text, to stand in a larger one; structs may be in it.

    Faster for many alike: a struct is smaller than a dict, and so is its encoding.
    """
    return orjson.Fragment(_encode_any(value))


class ExactJson(JSONProvider):
    """Flask's JSON, with the codecs of this module."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return the JSON text of a value."""
        return encode(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Return the value of JSON text; numbers are int or Decimal."""
        return _decoder.decode(s)


def unreadable(error: Exception) -> Rejection:
    """Return what is wrong with JSON that one of `UNREADABLE` was raised for."""
    if isinstance(error, msgspec.ValidationError):
        return field_rejection(error)
    if isinstance(error, RecursionError):
        return Rejection("VALIDATION_ERROR", "The JSON is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return Rejection("VALIDATION_ERROR", "The JSON is not valid UTF-8")
    if isinstance(error, InvalidOperation):
        return Rejection("VALIDATION_ERROR", "A number is out of bounds")
    return Rejection("VALIDATION_ERROR", str(error)[:FIELD_NAME_MAX])


def _deeper_than(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return False
        level = below
    return any(isinstance(item, dict | list) for item in level)


class _Repeated(ValueError):
    """An object names a key twice; `args[0]` is the key."""


def _no_repeats(pairs: list[tuple[str, Any]]) -> None:
    names = set()
    for name, _ in pairs:
        if name in names:
            raise _Repeated(name)
        names.add(name)


def decode_object(text: bytes) -> JsonObject | Rejection:
    """Return the JSON object of a request's body, or what is wrong with it.

    An operator's object that gives a key twice says two things, so it is refused;
    arrays and objects are at most `DEPTH_MAX` deep.
    """
    try:
        value = _decoder.decode(text)
        if _deeper_than(value, DEPTH_MAX):
            raise RecursionError
        json.loads(text, object_pairs_hook=_no_repeats, parse_int=str, parse_float=str)
    except UNREADABLE as error:
        return unreadable(error)
    except _Repeated as error:
        name = str(error.args[0])[:FIELD_NAME_MAX]
        return Rejection("VALIDATION_ERROR", "The field is given twice", name)
    if not isinstance(value, dict):
        return Rejection("VALIDATION_ERROR", "The body must be a JSON object")
    return value

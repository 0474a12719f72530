"""What the oracle refuses: section 14, and what a user may not change."""

import json
import re
from decimal import Decimal
from fractions import Fraction

from tests.interpreter import number_of
from tests.oracle_time import DAY_MS, is_zone

YEAR_1_MS, YEAR_10000_MS = -719_162 * DAY_MS, 2_932_897 * DAY_MS
DERIVED = [
    "badge.awarded",
    "tier.changed",
    "challenge.completed",
    "streak.milestone",
    "competition.won",
    "product.redeemed",
    "audience.entered",
    "audience.left",
]


class Refused(Exception):
    """A message that changes nothing; the argument is the code."""


def check_action(user_id, event_id, kind, occurred, data, metadata):
    """Section 14; raise Refused for what may not be."""
    good = (
        good_text(user_id, 128)
        and good_text(kind, 128)
        and "," not in user_id + kind
        and kind not in DERIVED
        and YEAR_1_MS <= occurred < YEAR_10000_MS
        and (event_id is None or good_text(event_id, 255))
    )
    for payload in (data, metadata):
        text = json.dumps(payload, default=str, separators=(",", ":"))
        good = good and len(text) <= 32 * 1024
        good = good and depth_of(payload) <= 16 and numbers_fit(payload)
    if not good:
        raise Refused("VALIDATION_ERROR")


def check_profile_update(body):
    """Raise Refused for an update that may not be."""
    name = body.get("displayName")
    zone = body.get("preferences", {}).get("timezone")
    good = (
        bool(body)
        and set(body) <= {"displayName", "preferences", "customFields"}
        and (name is None or isinstance(name, str))
        and (zone is None or is_zone(zone))
        and all(
            re.fullmatch("[A-Za-z0-9_.-]{1,64}", field)
            for field in body.get("customFields", {})
        )
    )
    if not good:
        raise Refused("VALIDATION_ERROR")


def good_text(text, most):
    control = any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text)
    return 1 <= len(text.encode()) <= most and not control


def depth_of(value):
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth_of, inner), default=0)
    return 0


def numbers_fit(value):
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return all(map(numbers_fit, inner))
    if number_of(value) in (None, 0):
        return True
    digits = "".join(map(str, Decimal(value).as_tuple().digits)).strip("0")
    size = abs(Fraction(value))
    return len(digits) <= 34 and Fraction(1, 10**30) <= size <= 10**30

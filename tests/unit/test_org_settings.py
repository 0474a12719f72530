"""Org settings of the command line, checked by the code that the worker runs."""

import pytest

from plaudit.errors import Unusable
from plaudit.org_settings import check_org, settings_body

NONE = dict.fromkeys(("name", "timezone", "dedupe_days", "late_days", "tiers"))


def test_what_is_not_named_keeps_its_default():
    assert settings_body(**NONE) == {}
    check_org("acme", {})


def test_every_option_is_a_setting():
    body = settings_body(
        name="Acme",
        timezone="Europe/London",
        dedupe_days=90,
        late_days=400,
        tiers="base:0, top: one:2500",
    )
    assert body == {
        "name": "Acme",
        "timezone": "Europe/London",
        "dedupeHorizonMs": 90 * 86_400_000,
        "lateHorizonMs": 400 * 86_400_000,
        "tiers": [
            {"name": "base", "threshold": 0},
            {"name": "top: one", "threshold": 2_500},
        ],
    }
    check_org("acme", body)


@pytest.mark.parametrize(
    "tiers", ["", "bronze", "bronze:", ":0", "a:0,", "a:-1", "a:1.5", "a:\u0661"]
)
def test_tiers_that_cannot_be_read(tiers):
    with pytest.raises(Unusable, match="bronze:0,silver:1000"):
        settings_body(**NONE | {"tiers": tiers})


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        ({"timezone": "Mars/North"}, "settings.timezone"),
        ({"dedupe_days": 91}, "settings.dedupeHorizonMs"),
        ({"late_days": 0}, "settings.lateHorizonMs"),
        ({"tiers": "a:0,a:5"}, "settings.tiers[1].name"),
        ({"tiers": "a:1"}, "settings.tiers[0].threshold"),
        ({"tiers": "a:0,b:" + "9" * 5_000}, "settings.tiers[1].threshold"),
    ],
)
def test_what_the_worker_would_refuse_is_refused_before(chosen, field):
    with pytest.raises(Unusable) as refused:
        check_org("acme", settings_body(**NONE | chosen))
    assert str(refused.value).startswith(f"{field}: ")


def test_an_org_id_that_is_refused():
    with pytest.raises(Unusable, match="org: "):
        check_org("a/b", {})

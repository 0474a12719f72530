"""Bodies and checks that several tests share."""

AUDIENCE = "/v1/api/audience"
LOYALTY = "/loyalty/v1"
ACTIONS = f"{AUDIENCE}/internal/actions"
BULK = f"{ACTIONS}/bulk"
CAMPAIGNS = f"{LOYALTY}/campaigns"
RULES = f"{LOYALTY}/rules"
SEGMENTS = f"{LOYALTY}/segments"


def simple_campaign(**changes):
    """Return the body of an active campaign: 10 points for each purchase."""
    body = {
        "name": "Ten for a purchase",
        "type": "Reward",
        "mode": "always-on",
        "status": "active",
        "triggers": [{"eventType": "purchase", "conditions": {}}],
        "effects": [{"type": "add_points", "config": {"amount": 10}}],
    }
    return body | changes


def advanced_campaign(**changes):
    body = {"name": "By rules", "type": "Reward", "mode": "always-on"}
    return body | {"status": "active"} | changes


def points_rule(**changes):
    body = {
        "name": "Votes",
        "trigger": "poll_vote",
        "conditions": [],
        "effects": [{"type": "award_points", "amount": 10}],
    }
    return body | changes


def refused(response, status, code, field=None):
    """Check an error's status, code and the field that its details name first."""
    assert response.status_code == status, response.text
    error = response.json["error"]
    assert error["code"] == code, error
    if field is not None:
        assert field in [item["field"] for item in error["details"]], error
    assert error["requestId"] == response.headers["X-Request-ID"]
    return error


def created(response, status=201):
    assert response.status_code == status, response.text
    assert response.json["success"] is True
    return response.json["data"]

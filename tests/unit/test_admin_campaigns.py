"""Admin commands on campaigns: versions, names, limits, and what is final."""

from tests.orgs import SEGMENT, SIMPLE


def test_campaign_is_created(org):
    body = org.made("campaign.create", SIMPLE)
    campaign_id = body["campaign_id"]
    assert campaign_id.startswith("camp_")
    assert [len(part) for part in campaign_id[5:].split("-")] == [8, 4, 4, 4, 12]
    assert (body["version"], body["status"]) == (1, "draft")
    assert (body["created_at_ms"], body["updated_at_ms"]) == (1_001, 1_001)
    assert org.config.campaigns[campaign_id].triggers == SIMPLE["triggers"]
    assert org.config.version == 2


def test_campaign_that_is_invalid_names_every_problem(org):
    result = org.send("campaign.create", {"name": "", "type": "Reward"}).result
    assert result.status == 400
    assert [p.field for p in result.details] == ["name", "mode"]


def test_campaign_names_are_unique_among_live_ones(org):
    first = org.campaign()
    duplicate = (409, "DUPLICATE_NAME", "name")
    assert org.refusal("campaign.create", SIMPLE) == duplicate
    other = org.campaign(name="votes")
    assert org.refusal("campaign.update", {"name": "Votes"}, other) == duplicate
    assert org.send("campaign.update", {"name": "Votes"}, first).result.status == 200
    org.send("campaign.archive", target=first)
    org.campaign()


def test_campaigns_have_a_limit(org):
    ids = [org.campaign(name=f"c{i}") for i in range(500)]
    limit = (409, "CAMPAIGN_LIMIT_REACHED", None)
    assert org.refusal("campaign.create", SIMPLE) == limit
    org.send("campaign.archive", target=ids[0])
    org.campaign()


def test_segments_of_a_campaign_must_exist(org):
    segment = org.made("segment.create", SEGMENT)["segment_id"]
    campaign = org.campaign(segmentIds=[segment])
    unknown = {"segmentIds": [segment, "seg_x"]}
    missing = (400, "SEGMENT_NOT_FOUND", "segmentIds[1]")
    assert org.refusal("campaign.create", {**SIMPLE, "name": "n", **unknown}) == missing
    assert org.refusal("campaign.update", unknown, campaign) == missing
    assert org.refusal("campaign.update", {"segmentId": "seg_x"}, campaign) == (
        400,
        "SEGMENT_NOT_FOUND",
        "segmentId",
    )


def test_campaign_update_raises_its_version(org):
    campaign = org.campaign()
    decision = org.send("campaign.update", {"status": "active"}, campaign)
    body = decision.result.body
    assert (decision.result.status, body["status"], body["version"]) == (
        200,
        "active",
        2,
    )
    assert (body["created_at_ms"], body["updated_at_ms"]) == (1_001, 1_002)
    assert [change[:2] for change in decision.changes] == [("campaign", campaign)]


def test_campaign_update_that_is_refused(org):
    campaign = org.campaign()
    assert org.refusal("campaign.update", {"status": "active"}, "camp_x") == (
        404,
        "CAMPAIGN_NOT_FOUND",
        "campaignId",
    )
    assert org.refusal("campaign.update", {}, campaign) == (
        400,
        "VALIDATION_ERROR",
        None,
    )
    assert org.refusal("campaign.update", {"type": "Badge"}, campaign) == (
        400,
        "CAMPAIGN_TYPE_IMMUTABLE",
        "type",
    )


def test_archived_is_final(org):
    campaign = org.campaign()
    assert org.send("campaign.archive", target=campaign).result.status == 204
    assert campaign not in org.config.campaigns
    assert org.row("campaign", campaign).status == "archived"
    assert org.refusal("campaign.update", {"status": "active"}, campaign) == (
        409,
        "CONFLICT",
        "campaignId",
    )
    again = org.send("campaign.archive", target=campaign)
    assert (again.result.status, again.changes) == (204, [])
    assert org.refusal("campaign.archive", target="camp_x")[0] == 404


def test_update_archives_too(org):
    campaign = org.campaign()
    org.send("campaign.update", {"status": "archived"}, campaign)
    assert campaign not in org.config.campaigns

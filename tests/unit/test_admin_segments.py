"""Admin commands on segments."""

from tests.orgs import SEGMENT


def test_segment_lives(org):
    body = org.made("segment.create", SEGMENT)
    segment = body["segment_id"]
    assert segment.startswith("seg_")
    assert org.config.segments[segment].criteria == SEGMENT["criteria"]
    campaign = org.campaign(segmentIds=[segment])
    updated = org.send("segment.update", {"name": "Other"}, segment).result
    assert (updated.status, updated.body["name"]) == (200, "Other")
    assert updated.body["updated_at_ms"] == 1_003
    assert org.send("segment.delete", target=segment).result.status == 204
    assert org.config.segments == {}
    assert org.config.campaigns[campaign].segment_ids == [segment]
    assert org.config.campaigns[campaign].version == 1
    assert org.send("campaign.update", {"priority": 1}, campaign).result.status == 200


def test_segment_that_is_refused(org):
    unknown = (404, "SEGMENT_NOT_FOUND", "segmentId")
    assert org.refusal("segment.update", {"name": "x"}, "seg_x") == unknown
    assert org.refusal("segment.delete", target="seg_x") == unknown
    assert org.refusal("segment.create", {**SEGMENT, "type": "live"}) == (
        400,
        "VALIDATION_ERROR",
        "type",
    )
    segment = org.made("segment.create", SEGMENT)["segment_id"]
    assert org.refusal("segment.update", {}, segment) == (400, "VALIDATION_ERROR", None)


def test_segments_have_a_limit(org):
    for _ in range(500):
        org.made("segment.create", SEGMENT)
    assert org.refusal("segment.create", SEGMENT) == (
        409,
        "SEGMENT_LIMIT_REACHED",
        None,
    )

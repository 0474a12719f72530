import threading

import msgspec
import pytest

from plaudit.credentials import Credentials
from plaudit.errors import Failure, Unusable
from plaudit.loading import client, window
from plaudit.loading.load import load_file
from plaudit.loading.mapping import Mapping
from tests.bulk_server import BulkServer

MAPPING = Mapping("buy", "u", None, "id")


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(window, "WINDOW_ROWS_MAX", 40)
    monkeypatch.setattr(window, "REQUEST_ROWS_MAX", 4)
    monkeypatch.setattr(client, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(client, "PAUSE_LONGEST_S", 0.002)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "f.csv"
    lines = [f"user{n % 13},{n}" for n in range(500)]
    path.write_text("u,id\n" + "\n".join(lines) + "\n")
    return path


def credentials_for(server):
    return Credentials(server.url, "acme", "key", "secret", "sk_x", "token")


def load(server, path, *, mapping=MAPPING, again=False):
    folder = path.parent / "loads"
    return load_file(path, mapping, credentials_for(server), folder, again=again)


def counts(summary):
    return (summary.rows, summary.accepted, summary.duplicate, summary.refused)


def sent_ids(server, user):
    return [
        int(action["eventId"])
        for request in server.requests
        for action in request["actions"]
        if action["userId"] == user
    ]


def test_every_row_is_sent_once_and_a_user_keeps_its_order(small_windows, file):
    with BulkServer() as server:
        summary = load(server, file)
    assert counts(summary) == (500, 500, 0, 0)
    assert len(server.applied) == 500
    for user in range(13):
        ids = sent_ids(server, f"user{user}")
        assert ids == sorted(ids)
    assert all(request["keepIds"] for request in server.requests)
    (batch_id,) = {request["batchId"] for request in server.requests}
    assert batch_id.startswith("load_")


def test_a_second_run_sends_nothing_and_says_so(small_windows, file):
    with BulkServer() as server:
        first = load(server, file)
        requests = len(server.requests)
        second = load(server, file)
    assert len(server.requests) == requests
    assert second.already_loaded
    assert counts(second) == counts(first)


def test_again_sends_it_once_more_and_nothing_counts_twice(small_windows, file):
    with BulkServer() as server:
        load(server, file)
        summary = load(server, file, again=True)
    assert counts(summary) == (500, 0, 500, 0)


def test_requests_are_tried_until_they_are_answered(small_windows, file):
    answers = [202, 503, 429, 202, 500, "lost", "lost", 202]
    with BulkServer(answers) as server:
        summary = load(server, file)
    # What was stored without an answer is sent twice; it is no duplicate of the file's.
    assert counts(summary) == (500, 500, 0, 0)
    assert sum(tally["duplicate"] for tally in server.tallies.values()) > 0


@pytest.mark.parametrize("stopped_at", [1, 2, 7, 30, 80])
def test_an_interrupted_load_goes_on_where_it_stopped(small_windows, file, stopped_at):
    """Whatever request it is that ends the process, the sums are the same."""
    with BulkServer([202] * stopped_at + [403] * 50) as server:
        with pytest.raises(Failure, match="403"):
            load(server, file)
        server.answers.clear()
        before = len(server.requests)
        summary = load(server, file)
    assert counts(summary) == (500, 500, 0, 0)
    assert len(server.applied) == 500
    # At most one window of 40 rows (10 requests or so) goes out again.
    again = [
        action["eventId"]
        for request in server.requests[before:]
        for action in request["actions"]
    ]
    assert len(again) <= 500 - (stopped_at * 4 - 80)


def test_refused_rows_are_kept_with_their_reasons(small_windows, file):
    with BulkServer() as server:
        server.refuse = lambda action: (
            "no" if int(action["eventId"]) % 100 == 7 else None
        )
        summary = load(server, file)
    assert counts(summary) == (500, 495, 0, 5)
    lines = (file.parent / "loads").joinpath(summary.refused_file).read_text()
    assert lines.splitlines() == [
        "row,code,field,reason,u,id",
        *(
            f"{n + 1},VALIDATION_ERROR,userId,no,user{n % 13},{n}"
            for n in (7, 107, 207, 307, 407)
        ),
    ]


def test_ids_twice_in_a_file_count_once(small_windows, tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("u,id\nann,1\nann,1\nbob,1\n")
    with BulkServer() as server:
        assert counts(load(server, path)) == (3, 2, 1, 0)


def test_other_columns_need_to_be_meant(small_windows, file):
    other = msgspec.structs.replace(MAPPING, action="sell")
    with BulkServer() as server:
        load(server, file)
        with pytest.raises(Unusable, match="--again"):
            load(server, file, mapping=other)
        assert counts(load(server, file, mapping=other, again=True))[0] == 500


def test_a_corrected_mapping_makes_other_actions_of_the_rows(small_windows, file):
    wrong = msgspec.structs.replace(MAPPING, event_id=None)
    right = msgspec.structs.replace(wrong, action="sell")
    with BulkServer([202] * 20 + [403]) as server:
        with pytest.raises(Failure, match="403"):
            load(server, file, mapping=wrong)
        server.answers.clear()
        assert counts(load(server, file, mapping=wrong)) == (500, 500, 0, 0)
        summary = load(server, file, mapping=right, again=True)
        assert counts(summary) == (500, 500, 0, 0)
        summary = load(server, file, mapping=right, again=True)
        assert counts(summary) == (500, 0, 500, 0)


def test_a_body_that_is_too_large_goes_in_parts(small_windows, file):
    with BulkServer([413] * 30) as server:
        summary = load(server, file)
    assert summary.rows == 500
    assert summary.accepted + summary.refused == 500
    assert len(server.applied) == summary.accepted


def test_an_api_that_refuses_the_key_stops_the_load(small_windows, file):
    with BulkServer([401] * 99) as server:
        with pytest.raises(Failure, match="401"):
            load(server, file)
        assert server.applied == {}


def test_an_api_that_is_away_is_waited_for_within_bounds(small_windows, file):
    with BulkServer() as server:
        away = credentials_for(server)
    folder = file.parent / "loads"
    with pytest.raises(Failure, match="run the same command again"):
        load_file(file, MAPPING, away, folder, again=False)


def test_one_process_at_a_time_loads_a_file(small_windows, file):
    inside = threading.Event()
    go_on = threading.Event()

    def hold(_number):
        inside.set()
        assert go_on.wait(10)

    with BulkServer() as server:
        server.before_answer = hold
        first = threading.Thread(target=load, args=(server, file))
        first.start()
        assert inside.wait(10)
        with pytest.raises(Failure, match="right now"):
            load(server, file)
        go_on.set()
        first.join(30)
    assert len(server.applied) == 500


def test_an_empty_file_is_loaded_at_once(small_windows, tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("u,id\n")
    with BulkServer() as server:
        assert counts(load(server, path)) == (0, 0, 0, 0)
    assert server.requests == []

import re

import msgspec
import pytest

from plaudit.errors import Failure, Unusable
from plaudit.loading.mapping import Mapping, is_number, parse_data
from plaudit.loading.refusals import RefusedFile
from plaudit.loading.rows import CELL_CHARS_MAX, LINE_BYTES_MAX, Row, open_rows

SHA = "ab" * 32


def rows_of(tmp_path, content, *data, name="f.csv", time="t", event_id="id"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    mapping = Mapping("buy", "u", time, event_id, parse_data(data))
    with path.open("rb") as file:
        return list(open_rows(path, file, mapping, SHA))


def body_of(row):
    assert row.body is not None, row.reason
    return row.body.decode()


@pytest.mark.parametrize(
    "text", ["0", "-0", "1", "-12.50", "1e5", "1E+05", "0.1", "10", "1" * 40]
)
def test_is_a_json_number(text):
    assert is_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "007",
        "+1",
        ".5",
        "1.",
        "1,000",
        " 1",
        "1 ",
        "0x10",
        "NaN",
        "\u0661",
        "1e",
        "--1",
    ],
)
def test_is_no_json_number(text):
    assert not is_number(text)


def test_numbers_are_sent_as_they_are_spelled(tmp_path):
    content = "u,t,id,a\nann,2020-01-01,7,22.200000000000003\nbob,2020-01-01,8,1.10\n"
    first, second = rows_of(tmp_path, content, "amount=a")
    assert '"data":{"amount":22.200000000000003}' in body_of(first)
    assert '"data":{"amount":1.10}' in body_of(second)


def test_what_is_no_number_is_a_string_and_an_empty_cell_is_absent(tmp_path):
    content = "u,t,id,a,b\nann,2020-01-01,7,007,\n"
    (row,) = rows_of(tmp_path, content, "code=a", "gone=b")
    assert msgspec.json.decode(row.body)["data"] == {"code": "007"}


def test_types_can_be_forced(tmp_path):
    content = "u,t,id,a,b\nann,2020-01-01,7,12,\nbob,2020-01-01,8,x,\n"
    first, second = rows_of(tmp_path, content, "s:str=a", "n:num=a", "e:str=b")
    assert msgspec.json.decode(first.body)["data"] == {"s": "12", "n": 12, "e": ""}
    assert (second.body, second.field) == (None, "data.n")


def test_ids_are_strings_and_dates_are_sent_as_they_are(tmp_path):
    (row,) = rows_of(tmp_path, "u,t,id\n17850,2010-12-01,536365\n")
    assert msgspec.json.decode(row.body) == {
        "userId": "17850",
        "action": "buy",
        "eventId": "536365",
        "timestamp": "2010-12-01",
    }


def ids_of(tmp_path, *data):
    content = "u,a,b\nann,1,2\nbob,3,4\n"
    rows = rows_of(tmp_path, content, *data, time=None, event_id=None)
    return [msgspec.json.decode(row.body)["eventId"] for row in rows]


def test_without_an_id_column_ids_name_the_file_the_mapping_and_the_row(tmp_path):
    ids = ids_of(tmp_path, "a=a", "b=b")
    prefix = ids[0].removesuffix("-1")
    assert re.fullmatch(rf"{SHA[:32]}-[0-9a-f]{{16}}", prefix)
    assert ids == [f"{prefix}-1", f"{prefix}-2"]
    # What the columns mean is part of it, in which order they are named is not.
    assert ids_of(tmp_path, "b=b", "a=a") == ids
    for other in (["a=a"], ["a=b", "b=a"], ["a:num=a", "b=b"]):
        assert not set(ids) & set(ids_of(tmp_path, *other))


def test_quotes_line_breaks_and_a_mark_at_the_beginning(tmp_path):
    content = b'\xef\xbb\xbfu,t,id,a\r\n"a\nb",2020-01-01,"x ""y""","1,5"\r\n\r\n'
    (row,) = rows_of(tmp_path, content, "a=a")
    sent = msgspec.json.decode(row.body)
    assert (sent["userId"], sent["eventId"]) == ("a\nb", 'x "y"')
    assert sent["data"] == {"a": "1,5"}


def test_a_bad_row_is_refused_alone(tmp_path):
    content = b'u,t,id\nann,1\nb\xff,2,3\n"x"y,1,2\ncid,2,3\n'
    short, not_text, not_csv, good = rows_of(tmp_path, content)
    assert "2 cells where the header has 3" in short.reason
    assert not_text.reason == "not UTF-8"
    assert "is not CSV" in not_csv.reason
    assert [row.number for row in (short, not_text, not_csv, good)] == [1, 2, 3, 4]
    assert good.user == "cid"


def test_a_quote_that_is_never_closed_stops_the_load(tmp_path):
    content = 'u,t,id\n"' + "x" * (CELL_CHARS_MAX + 1)
    with pytest.raises(Failure, match="quote"):
        rows_of(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "empty"), ("u,t\n", "no column id"), ("u,t,id,id\n", "more than one column")],
)
def test_the_header_must_have_each_column_once(tmp_path, content, message):
    with pytest.raises(Unusable, match=message):
        rows_of(tmp_path, content)


def test_the_name_says_what_a_file_is(tmp_path):
    with pytest.raises(Unusable, match=r"\.csv"):
        rows_of(tmp_path, "", name="f.xlsx")


def test_json_lines_keep_their_types_and_spelling(tmp_path):
    content = (
        b'{"u": "ann", "t": "2020-01-01", "id": 7, "a": 1.10, "b": "1.10", '
        b'"c": null, "d": {"x": [1e2]}}\n\n'
    )
    data = ("a=a", "b=b", "c=c", "d=d", "s:str=a", "n:num=b", "gone=e")
    (row,) = rows_of(tmp_path, content, *data, name="f.jsonl")
    assert (
        '"eventId":"7","timestamp":"2020-01-01","data":{"a":1.10,"b":"1.10",'
        '"d":{"x": [1e2]},"s":"1.10","n":1.10}' in body_of(row)
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "not a JSON object"),
        (b'{"u":', "not a JSON object"),
        (b'{"u":NaN}', "not a JSON object"),
        (b'{"t":"2020-01-01","id":"1"}', "u must be a string or a number"),
        (b'{"u":true,"t":"x","id":"1"}', "u must be a string or a number"),
        (b'{"u":"ann","t":12,"id":"1"}', "t must be a string"),
        (b'{"u":"ann","t":"x","id":"1","a":"x"}', "x is not a JSON number"),
        (b'{"u":"ann","t":"x","id":"\\ud800"}', "not a JSON object"),
        (b'{"u":"\xff","t":"x","id":"1"}', "not UTF-8"),
        (b'{"u":' + b"[" * 200_000, "not a JSON object"),
        (b'{"u":"' + b"x" * LINE_BYTES_MAX + b'"}', "longer than"),
    ],
)
def test_a_bad_json_line_is_refused_alone(tmp_path, line, reason):
    good = b'{"u":"bob","t":"x","id":"2","a":1}\n'
    bad, fine = rows_of(tmp_path, line + b"\n" + good, "a:num=a", name="f.jsonl")
    assert bad.body is None
    assert reason in bad.reason
    assert (fine.number, fine.user) == (2, "bob")


@pytest.mark.parametrize("spec", ["amount", "=x", "amount=", "a:int=", "a=b=c:"])
def test_data_specs(spec):
    if spec == "a=b=c:":
        assert parse_data((spec,))[0].column == "b=c:"
        return
    with pytest.raises(Unusable):
        parse_data((spec,))


def test_a_field_is_named_once():
    with pytest.raises(Unusable, match="twice"):
        parse_data(("a=x", "a:num=y"))


def test_refused_cells_are_no_formulas(tmp_path):
    path = tmp_path / "r.csv"
    cells = ["=1+1", "-5", "@x", "plain", "+44", "b\udcff"]
    with RefusedFile(path, ["=h"], 0) as refused:
        refused.append([Row(3, cells, code="C", field="f", reason="-because")])
    assert path.read_bytes() == (
        b"row,code,field,reason,'=h\r\n3,C,f,'-because,'=1+1,-5,'@x,plain,'+44,b\xff\r\n"
    )


def test_refused_rows_of_an_interrupted_window_go(tmp_path):
    path = tmp_path / "r.csv"
    with RefusedFile(path, ["h"], 0) as refused:
        refused.append([Row(1, ["a"])])
        kept = refused.length
        refused.append([Row(2, ["b"])])
    with RefusedFile(path, ["h"], kept) as refused:
        refused.append([Row(2, ["c"])])
    assert path.read_text().splitlines()[1:] == ["1,,,,a", "2,,,,c"]


def test_a_line_that_is_too_long_is_refused_alone(tmp_path):
    long = b"bob,2020-01-01,8," + b"x" * LINE_BYTES_MAX
    content = b"u,t,id,a\nann,2020-01-01,7,1\n" + long + b"\ncat,2020-01-01,9,2\n"
    first, second, third = rows_of(tmp_path, content, "a=a")
    assert (first.user, third.user) == ("ann", "cat")
    assert second.body is None
    assert "longer than" in second.reason

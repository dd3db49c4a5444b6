"""What can still be saved in words: the page to print, the text of the mail, the JSON; read back as a reader would."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from lxml import html

from monitoring.rates.savable import Entry, Field, Kind, Savable, Unit, nothing
from monitoring.rates.savable_page import page, plain, subject
from monitoring.rates.savable_words import (
    CALENDAR,
    FIELDS,
    KINDS,
    as_dict,
    clock_time,
    time_left,
    todo,
    unit_name,
)
from schemas.dossier.days_off import Certainty
from tests.unit.dossier.samples import at

NOW = at("2026-03-04 10:00")
NAMES = {"H12.01": "Sở Tư pháp"}


def entry(kind: Kind = Kind.DUE, number: int = 1, **more: Any) -> Entry:
    filled: dict[str, Any] = {
        "dossier_id": f"opencps:{number}",
        "code": f"H12.01-260302-{number:04}",
        "agency": "H12.01",
        "deadline": at("2026-03-04 11:30"),
        "left": timedelta(hours=1, minutes=5),
        "certainty": Certainty.CONFIRMED,
    }
    return Entry(kind=kind, **{**filled, **more})


def unit(agency: str | None, *entries: Entry, **counts: int) -> Unit:
    return Unit(
        agency=agency,
        counts={
            kind: counts.get(kind.value, sum(e.kind is kind for e in entries)) for kind in Kind
        },
        fields={},
        entries=entries,
    )


def savable(*units: Unit, **more: Any) -> Savable:
    filled: dict[str, Any] = {
        "now": NOW,
        "until": at("2026-03-05 17:00"),
        "certainty": Certainty.CONFIRMED,
        "undecided": 0,
        "waiting": 0,
    }
    return Savable(units=units, **{**filled, **more})


TWO = savable(
    unit(
        "H12.01",
        entry(Kind.RECEPTION),
        entry(Kind.DUE, 2),
        entry(Kind.FIELD, 3, deadline=None, left=None, fields=(Field.REUSED,)),
        due=7,
    ),
    unit(None, entry(Kind.SUPPLEMENT, 4, agency=None, code=None)),
)


def rows(table: Any) -> list[list[str]]:
    return [
        [" ".join(cell.text_content().split()) for cell in row.xpath("th|td")]
        for row in table.xpath("tbody/tr|tfoot/tr")
    ]


# --- the page ----------------------------------------------------------------------------------------


def test_the_page_says_everything_about_every_entry() -> None:
    made = html.fromstring(page(TWO, NAMES))
    summary, *tables = made.xpath("//table")
    assert rows(summary) == [
        ["H12.01 Sở Tư pháp", "1", "7", "0", "1", "9"],
        ["Chưa rõ đơn vị", "0", "0", "1", "0", "1"],
        ["Cộng", "1", "7", "1", "1", "10"],
    ]
    assert [heading.text for heading in made.xpath("//h2")] == [
        "H12.01 Sở Tư pháp",
        "Chưa rõ đơn vị",
    ]
    assert [table.findtext("caption") for table in tables] == [
        "Sắp hết 8 giờ tiếp nhận: 1 hồ sơ",
        "Đến hạn trả kết quả: 7 hồ sơ",
        "Thiếu thông tin tính điểm: 1 hồ sơ",
        "Đã yêu cầu bổ sung một lần: 1 hồ sơ",
    ]
    reception, due, field, supplement = (rows(table) for table in tables)
    assert reception[0][:3] == ["H12.01-260302-0001", "11:30 04/03/2026", "1 giờ 05 phút"]
    assert due[1] == ["… và 6 hồ sơ nữa"]
    assert field[0][1:3] == ["–", "–"]
    assert "DuocTaiSuDung; REUSED_DIGITIZED_DATA, 2 điểm" in field[0][3]
    assert supplement[0][0] == "opencps:4", "without a code the source's own number"


def test_the_page_needs_nothing_from_elsewhere() -> None:
    made = page(TWO, NAMES)
    assert re.search(r"src=|href=|url\(|@import|<script|<link|https?:", made) is None
    assert "size: A4" in made


def test_the_page_can_be_read_by_who_does_not_see_it() -> None:
    made = html.fromstring(page(TWO, NAMES))
    assert made.get("lang") == "vi"
    assert made.findtext("head/title") == subject(TWO)
    assert len(made.xpath("//h1")) == len(made.xpath("//main")) == 1
    assert made.xpath("//table[not(caption)]") == []
    assert made.xpath("//th[not(@scope)]") == []
    assert made.xpath("//tbody/tr[not(th) and not(td/@colspan)]") == []
    ids = made.xpath("//@id")
    assert made.xpath("//section/@aria-labelledby") == ids
    assert len(set(ids)) == len(ids) == 2


def test_whatever_stands_in_a_code_is_text() -> None:
    wild = '<script>alert("x")</script>&amp;'
    made = page(savable(unit("H12.01", entry(code=wild))), {"H12.01": "<b>Sở</b>"})
    assert "<script>" not in made
    assert "<b>" not in made
    (table,) = html.fromstring(made).xpath("//table")
    assert rows(table)[0][0] == wild


def test_one_unit_needs_no_summary_and_nothing_is_said_to_be_nothing() -> None:
    made = html.fromstring(page(savable(nothing("H12.09")), {}))
    assert made.xpath("//table") == []
    assert made.xpath("//section/p/text()") == ["Không có việc nào."]
    assert "Không có việc nào." in page(savable(), {})


def test_an_uncertain_calendar_is_told_once_and_where_it_is_worse() -> None:
    unsure = savable(
        unit(
            "H12.01",
            entry(certainty=Certainty.UNKNOWN),
            entry(Kind.SUPPLEMENT, 2, certainty=Certainty.REPORTED),
            entry(Kind.FIELD, 3, deadline=None, left=None, certainty=Certainty.UNKNOWN),
        ),
        certainty=Certainty.REPORTED,
    )
    made = html.fromstring(page(unsure, {}))
    due, supplement, field = made.xpath("//table")
    assert rows(due)[0][1] == "11:30 04/03/2026 *"
    assert rows(supplement)[0][1] == "11:30 04/03/2026"
    assert rows(field)[0][1] == "–"
    assert made.xpath("//footer/p[starts-with(., '*')]") != []
    assert CALENDAR[Certainty.REPORTED].vi in made.xpath("string(//div[@role='note'])")
    sure = html.fromstring(page(TWO, {}))
    assert sure.xpath("//footer/p[starts-with(., '*')] | //div[@role='note']") == []


def test_what_is_missing_here_is_told() -> None:
    text = html.fromstring(page(savable(undecided=3, waiting=12), {})).text_content()
    assert "3 hồ sơ đang mở không đọc được" in text
    assert "12 hồ sơ của tỉnh chưa được tính xong" in text


def test_a_shorter_listing_keeps_the_most_urgent_and_the_counts() -> None:
    whole = savable(unit("H12.01", *(entry(kind, n) for kind in Kind for n in range(1, 4))))
    (short,) = whole.listing(2).units
    assert [(e.kind, e.dossier_id[-1]) for e in short.entries] == [
        (kind, n) for kind in Kind for n in "12"
    ]
    assert short.counts == whole.units[0].counts
    assert "… và 1 hồ sơ nữa" in page(whole.listing(2), {})


# --- the mail ----------------------------------------------------------------------------------------


def test_the_subject_has_the_day_and_the_counts() -> None:
    assert subject(TWO) == (
        "Hôm nay còn cứu được, thứ Tư 04/03/2026: 1 chờ tiếp nhận, 7 đến hạn,"
        " 1 đã yêu cầu bổ sung, 1 thiếu thông tin"
    )


def test_the_text_says_the_same_as_the_page() -> None:
    lines = plain(TWO, NAMES).splitlines()
    assert "H12.01 Sở Tư pháp" in lines
    assert "  Đến hạn trả kết quả: 7" in lines
    assert "    … và 6 hồ sơ nữa" in lines
    (line,) = (line for line in lines if "0001" in line)
    assert line == (
        "    H12.01-260302-0001 | 11:30 04/03/2026 | còn 1 giờ 05 phút"
        " | tiếp nhận, hoặc trả lời: từ chối, yêu cầu bổ sung"
    )


# --- words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (None, "–"),
        (timedelta(), "0 phút"),
        (timedelta(seconds=59), "0 phút"),
        (timedelta(minutes=59, seconds=59), "59 phút"),
        (timedelta(hours=1), "1 giờ"),
        (timedelta(hours=13, minutes=5), "13 giờ 05 phút"),
        (timedelta(days=2), "48 giờ"),
    ],
    ids=str,
)
def test_nobody_is_told_more_time_than_there_is(left: timedelta | None, expected: str) -> None:
    assert time_left(left) == expected


@pytest.mark.parametrize(
    ("deadline", "fee", "words"),
    [
        ("2026-03-04 10:00", False, "nếu không kịp, xin lỗi và gia hạn"),
        ("2026-03-04 09:59", False, "đã qua giờ hẹn"),
        ("2026-03-04 11:00", True, "đang chờ nộp phí"),
        ("2026-03-04 09:00", True, "đang chờ nộp phí"),
    ],
)
def test_what_to_do_about_a_due_date(deadline: str, fee: bool, words: str) -> None:
    assert words in todo(entry(deadline=at(deadline), fee_awaited=fee), NOW).vi


def test_every_kind_field_and_certainty_has_its_words() -> None:
    assert set(KINDS) == set(Kind)
    assert set(FIELDS) == set(Field)
    assert set(CALENDAR) == set(Certainty)


def test_times_are_those_of_the_clock_on_the_wall() -> None:
    late = datetime.fromisoformat("2026-03-04T17:30:00+00:00")
    assert clock_time(late) == "00:30 05/03/2026"
    assert unit_name("H12.02", NAMES) == "H12.02"


def test_as_json() -> None:
    told = as_dict(TWO, NAMES)
    assert told["now"] == "2026-03-04T10:00:00+07:00"
    assert told["counts"] == {"reception": 1, "due": 7, "supplement": 1, "field": 1}
    first, second = told["units"]  # type: ignore[misc]
    assert (first["agency"], first["name"], first["total"]) == ("H12.01", "Sở Tư pháp", 9)
    assert second["agency"] is None
    assert first["entries"][0] == {
        "kind": "reception",
        "dossier": "H12.01-260302-0001",
        "dossier_id": "opencps:1",
        "deadline": "2026-03-04T11:30:00+07:00",
        "minutes_left": 65,
        "calendar": "confirmed",
        "missing": [],
        "todo": {
            "vi": "tiếp nhận, hoặc trả lời: từ chối, yêu cầu bổ sung",
            "en": "receive it, or answer: refuse it or ask for papers",
        },
    }

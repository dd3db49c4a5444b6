"""Contents have one byte form: there and back, whatever they hold, and nothing else is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.reports import packets as p
from schemas.reports.canonical import ContentError, number_text
from schemas.reports.kinds import PacketKind
from tests.unit.reports.contents import FIGURES, SAMPLES, STATUS, any_content

KINDS = st.sampled_from(PacketKind)


def test_every_kind_has_a_content_and_a_sample() -> None:
    assert set(p.CONTENTS) == set(PacketKind) == set(SAMPLES)
    assert len(set(p.CONTENTS.values())) == 13


@settings(max_examples=60)
@given(KINDS.flatmap(any_content))
def test_what_is_written_is_read_back(content: p.Content) -> None:
    data = p.canonical(content)
    assert p.read(data) == content
    assert p.canonical(p.read(data)) == data


@settings(max_examples=60)
@given(KINDS.flatmap(any_content))
def test_the_byte_form_has_sorted_keys_and_no_spaces(content: p.Content) -> None:
    data = p.canonical(content).decode()
    tree = json.loads(data, parse_float=_Written, parse_int=_Written)
    plain = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plain.replace('"#', "").replace('#"', "") == data.replace('"#', "").replace('#"', "")


class _Written(str):
    """A number as it stands there."""

    __slots__ = ()

    def __new__(cls, text: str) -> _Written:
        return super().__new__(cls, f"#{text}#")


def test_the_byte_form_never_changes() -> None:
    """A hash that a person approved must come out the same in every later version."""
    assert p.canonical(p.KpiValues(kpi_set="Bộ", values=())) == (
        '{"canonical":1,"kind":"kpi_values","kpi_set":"Bộ","values":[]}'.encode()
    )
    small = p.Figures(
        axes=("agency",),
        indicators=("c3", "c4"),
        unit="hồ sơ",
        rows=(p.FigureRow(keys=("H44",), values=(Decimal("12.50"), None)),),
    )
    written = (
        '{"axes":["agency"],"canonical":1,"files":[],"indicators":["c3","c4"],"kind":"figures",'
        '"nature":"actual","note":null,"rows":[{"keys":["H44"],"values":[12.5,null]}],"unit":"hồ sơ"}'
    )
    assert p.canonical(small).decode() == written
    assert p.content_hash(small) == hashlib.sha256(written.encode()).hexdigest()
    assert b'"decided_at":"2026-08-26T02:30:00.000000Z"' in p.canonical(STATUS)


def test_equal_contents_have_equal_bytes_however_they_are_written() -> None:
    def figure(value: int | Decimal) -> p.Figures:
        row = p.FigureRow(keys=("H44",), values=(value,))
        return p.Figures(axes=("a",), indicators=("c3",), unit="x", rows=(row,))

    assert p.canonical(figure(Decimal("5.00"))) == p.canonical(figure(5))
    assert p.canonical(figure(Decimal("5E+2"))) == p.canonical(figure(500))
    assert p.canonical(figure(Decimal("-0.0"))) == p.canonical(figure(0))
    east = STATUS.decided_at.astimezone(timezone(timedelta(hours=7)))
    assert p.canonical(replace(STATUS, decided_at=east)) == p.canonical(STATUS)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.pop("unit"),
        lambda tree: tree.update(colour="red"),
        lambda tree: tree.update(kind="letter"),
        lambda tree: tree.update(canonical=2),
        lambda tree: tree.update(unit=5),
        lambda tree: tree.update(rows="none"),
        lambda tree: tree["rows"][0].update(values=[1]),
        lambda tree: tree["rows"].append(tree["rows"][0]),
        lambda tree: tree["rows"][0]["values"].__setitem__(0, "10"),
        lambda tree: tree["rows"][0]["values"].__setitem__(0, True),
    ],
)
def test_bytes_that_are_no_content_are_refused(change: Any) -> None:
    tree = json.loads(p.canonical(FIGURES))
    change(tree)
    with pytest.raises(ContentError):
        p.read(json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'{"canonical":1,"kind":"kpi_groups","groups":[]}',  # keys not in order
        b'{"canonical":1,"groups": [],"kind":"kpi_groups"}',  # a space
        b'{"canonical":1,"groups":[],"kind":"kpi_groups","kind":"kpi_groups"}',
        b'{"canonical":1,"kind":"kpi_values","kpi_set":"\\u0041","values":[]}',
        b'{"canonical":1.0,"kind":"kpi_values","kpi_set":"A","values":[]}',
        b"[" * 100_000,
    ],
)
def test_another_writing_of_a_content_is_refused(data: bytes) -> None:
    with pytest.raises(ContentError):
        p.read(data)


def test_what_cannot_be_exact_has_no_byte_form() -> None:
    def figure(value: Any) -> p.Figures:
        row = p.FigureRow(keys=("H44",), values=(value,))
        return p.Figures(axes=("a",), indicators=("c3",), unit="x", rows=(row,))

    for value in (0.1, Decimal("NaN"), Decimal("Infinity"), Decimal("1e99"), 2**70):
        with pytest.raises(ContentError):
            p.canonical(figure(value))
    with pytest.raises(ContentError):
        p.canonical(replace(STATUS, decided_at=datetime(2026, 8, 1)))  # noqa: DTZ001 - no zone
    with pytest.raises(ContentError):
        p.canonical(replace(STATUS, reasons=("\ud800",)))


def test_a_refusal_names_the_place_and_not_what_stands_there() -> None:
    tree = json.loads(p.canonical(SAMPLES[PacketKind.OUTLINE]))
    tree["parts"][1]["text"] = {"Nguyễn Văn Bí Mật": 1}
    with pytest.raises(ContentError) as refused:
        p.read(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode())
    assert "parts[1].text" in str(refused.value)
    assert "Mật" not in str(refused.value)


def test_words_of_a_report_are_not_shown() -> None:
    assert "Kết quả tốt" not in repr(SAMPLES[PacketKind.OUTLINE])
    assert "Cột 7" not in repr(STATUS)


@pytest.mark.parametrize(
    ("kind", "text", "right"),
    [
        (p.CellType.INTEGER, "12", True),
        (p.CellType.INTEGER, "-0", False),
        (p.CellType.INTEGER, "012", False),
        (p.CellType.INTEGER, "1.5", False),
        (p.CellType.DECIMAL, "1.50", False),
        (p.CellType.DECIMAL, "-0.5", True),
        (p.CellType.DECIMAL, "1e5", False),
        (p.CellType.DATE, "2026-02-30", False),
        (p.CellType.DATE, "20260814", False),
        (p.CellType.BOOLEAN, "True", False),
        (p.CellType.TEXT, "", True),
    ],
)
def test_a_cell_of_a_list_has_one_writing(kind: p.CellType, text: str, right: bool) -> None:
    column = p.ListColumn(code="1", type=kind)
    row = p.ListRow(cells=(text,))
    if right:
        assert p.ListFigures(columns=(column,), rows=(row,)).rows == (row,)
    else:
        with pytest.raises(ContentError):
            p.ListFigures(columns=(column,), rows=(row,))


@settings(max_examples=60)
@given(KINDS, *(st.text(min_size=1, max_size=8),) * 4)
def test_a_report_is_told_by_its_id(kind: PacketKind, r: str, f: str, t: str, a: str) -> None:
    name = p.report_id(kind, r, f, t, a)
    assert p.report_key(name) == p.ReportKey(kind=kind, regime=r, form=f, period=t, agency=a)


def test_a_usual_report_id_is_the_plain_five() -> None:
    assert (
        p.report_id(PacketKind.FIGURES, "II.06", "II.06a", "2026-08", "H44")
        == "figures/II.06/II.06a/2026-08/H44"
        == STATUS.report_id
    )


@pytest.mark.parametrize(
    "name", ["", "figures/II.06/II.06a/2026-08", "x/a/b/c/d", "figures/a//c/d"]
)
def test_what_names_no_report_is_refused(name: str) -> None:
    with pytest.raises(ContentError):
        p.report_key(name)


def test_numbers_are_written_without_exponent_and_without_idle_zeros() -> None:
    written = [number_text(Decimal(each)) for each in ("1E+3", "0.50", "100", "1.000", "-2.10")]
    assert written == ["1000", "0.5", "100", "1", "-2.1"]


def test_moments_are_utc() -> None:
    content = p.read(p.canonical(STATUS))
    assert isinstance(content, p.ReportStatus)
    assert content.decided_at.tzinfo is UTC

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dossier.mappings import CodeList, Codes, Mapped, MappingOrigin, MappingRow, Unmapped
from schemas.dossier.status import BEFORE_RECEPTION, NATIONAL_CODE, Status

HO_CHI_MINH = ZoneInfo("Asia/Ho_Chi_Minh")
NOW = datetime(2026, 11, 23, tzinfo=UTC)
MERGER = datetime(2025, 7, 1, tzinfo=HO_CHI_MINH)
SECOND = timedelta(seconds=1)


def agency(
    value: str, valid_from: datetime | None = None, valid_to: datetime | None = None
) -> MappingRow:
    return MappingRow(
        codelist=CodeList.AGENCY,
        system="one_stop",
        code="000.00.00.H04",
        value=value,
        valid_from=valid_from,
        valid_to=valid_to,
        origin=MappingOrigin.SUCCESSION,
    )


def status(code: str, value: str, qualifier: str = "") -> MappingRow:
    return MappingRow(
        codelist=CodeList.STATUS,
        system="one_stop",
        code=code,
        qualifier=qualifier,
        value=value,
        origin=MappingOrigin.SOURCE_TABLE,
    )


# --- by date ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (datetime(2025, 6, 30, 23, 59, 59, 999999, tzinfo=HO_CHI_MINH), "H04"),
        (datetime(2025, 7, 1, 0, 0, 0, tzinfo=HO_CHI_MINH), "H12"),
        (datetime(2025, 6, 30, 16, 59, 59, tzinfo=UTC), "H04"),
        (datetime(2025, 6, 30, 17, 0, 0, tzinfo=UTC), "H12"),
        (datetime(2015, 1, 1, tzinfo=UTC), "H04"),
        (NOW, "H12"),
    ],
)
def test_bac_lieu_becomes_ca_mau_at_midnight_in_ho_chi_minh(at: datetime, code: str) -> None:
    codes = Codes([agency("H04", valid_to=MERGER), agency("H12", valid_from=MERGER)])
    assert codes.agency("one_stop", "000.00.00.H04", at) == Mapped(value=code, name=None)


MOMENTS = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2030, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, HO_CHI_MINH]),
)
ROWS = st.lists(
    st.builds(
        agency,
        st.sampled_from(["H04", "H12", "H29"]),
        st.none() | MOMENTS,
        st.none() | MOMENTS,
    ),
    max_size=5,
)


@given(ROWS, MOMENTS)
def test_a_meaning_is_given_only_where_one_row_alone_is_in_force(
    rows: list[MappingRow], at: datetime
) -> None:
    in_force = [
        row
        for row in rows
        if not (row.valid_from is not None and at < row.valid_from)
        and not (row.valid_to is not None and at >= row.valid_to)
    ]
    codes = Codes(rows)
    if len(in_force) == 1:
        assert codes.agency("one_stop", "000.00.00.H04", at).value == in_force[0].value
        return
    with pytest.raises(Unmapped) as caught:
        codes.agency("one_stop", "000.00.00.H04", at)
    assert caught.value.matches == len(in_force)
    assert str(caught.value) == f"codelist=agency code=000.00.00.H04 matches={len(in_force)}"


@given(st.lists(MOMENTS, min_size=1, max_size=5, unique=True), MOMENTS)
def test_a_chain_of_successions_has_one_meaning_at_every_instant(
    borders: list[datetime], at: datetime
) -> None:
    borders = sorted(borders)
    ends = [None, *borders, None]
    rows = [agency(f"A{i}", ends[i], ends[i + 1]) for i in range(len(ends) - 1)]
    codes = Codes(rows)
    passed = sum(border <= at for border in borders)
    assert codes.agency("one_stop", "000.00.00.H04", at).value == f"A{passed}"
    for i, border in enumerate(borders):
        assert codes.agency("one_stop", "000.00.00.H04", border).value == f"A{i + 1}"


# --- statuses --------------------------------------------------------------------------------------


def test_the_row_of_the_sub_status_wins() -> None:
    codes = Codes(
        [status("paying", "payment_requested"), status("paying", "processing", "checked")]
    )
    assert codes.status("one_stop", "paying", "checked", NOW) is Status.PROCESSING
    assert codes.status("one_stop", "paying", "other", NOW) is Status.PAYMENT_REQUESTED
    assert codes.status("one_stop", "paying", None, NOW) is Status.PAYMENT_REQUESTED
    assert codes.status("one_stop", "paying", "", NOW) is Status.PAYMENT_REQUESTED


def test_a_row_for_one_sub_status_says_nothing_about_the_others() -> None:
    codes = Codes([status("done", "returned", "posted")])
    for sub_status in (None, "", "kept"):
        with pytest.raises(Unmapped, match="matches=0"):
            codes.status("one_stop", "done", sub_status, NOW)


@pytest.mark.parametrize("code", ["new", "receiving", "denied", "unresolved", "handover", None, ""])
def test_without_a_row_there_is_no_meaning(code: str | None) -> None:
    with pytest.raises(Unmapped) as caught:
        Codes([status("done", "returned")]).status("one_stop", code, None, NOW)
    assert (caught.value.codelist, caught.value.code) == (CodeList.STATUS, code)


def test_two_rows_for_one_status_are_no_meaning_even_when_they_agree() -> None:
    codes = Codes([status("done", "returned"), status("done", "returned")])
    with pytest.raises(Unmapped, match="matches=2"):
        codes.status("one_stop", "done", None, NOW)


def test_another_systems_rows_do_not_count() -> None:
    with pytest.raises(Unmapped):
        Codes([status("done", "returned")]).status("another", "done", None, NOW)


def test_a_procedure_keeps_the_name_of_its_row() -> None:
    row = MappingRow(
        codelist=CodeList.PROCEDURE,
        system="one_stop",
        code="HT-01",
        value="1.001193",
        name="Thủ tục đăng ký khai sinh",
        origin=MappingOrigin.OPERATOR,
    )
    found = Codes([row]).procedure("one_stop", "HT-01", NOW)
    assert found == Mapped(value="1.001193", name="Thủ tục đăng ký khai sinh")
    with pytest.raises(Unmapped, match="codelist=procedure code=HT-02"):
        Codes([row]).procedure("one_stop", "HT-02", NOW)


# --- the status table ------------------------------------------------------------------------------


def test_every_status_has_its_national_code() -> None:
    assert {status.value: code for status, code in NATIONAL_CODE.items()} == {
        "submitted": "1",
        "received": "2",
        "refused": "3",
        "processing": "4",
        "supplement_requested": "5",
        "payment_requested": "6",
        "withdrawn": "7",
        "paused": "8",
        "stopped": "8",
        "finished": "9",
        "returned": "10",
    }
    assert set(NATIONAL_CODE) == set(Status)


def test_paused_and_stopped_are_two_although_both_leave_as_8() -> None:
    leave_as_8 = {status for status in Status if NATIONAL_CODE[status] == "8"}
    assert leave_as_8 == {Status.PAUSED, Status.STOPPED}


def test_reception_is_owed_from_status_2_on_but_not_of_a_refused_dossier() -> None:
    assert {NATIONAL_CODE[status] for status in BEFORE_RECEPTION} == {"1", "3"}

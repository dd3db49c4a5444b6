"""Dialect files: what is refused, and with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.errors import MisconfiguredError
from connectors.national_portal.client import PortalClient
from connectors.national_portal.dialect import (
    Dialect,
    DialectError,
    get_items,
    load_dialect,
    normal_code,
)
from connectors.protocols import Abilities, Lookup
from schemas.dossier.status import BEFORE_RECEPTION, NATIONAL_CODE, Status
from schemas.reasons import Reason
from tests.unit.national_portal import samples

FOLDER = Path(__file__).parents[3] / "connectors" / "national_portal" / "dialects"
ADAPTER = (FOLDER / "adapter.toml").read_text(encoding="utf-8")


def changed(tmp_path: Path, old: str, new: str) -> Path:
    assert old in ADAPTER
    path = tmp_path / "changed.toml"
    path.write_text(ADAPTER.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_adapter_writes_the_national_codes() -> None:
    dialect = load_dialect("adapter")
    assert {Status(k): v for k, v in dialect.codes["status"].items()} == NATIONAL_CODE


def test_the_adapter_demands_reception_in_every_status_after_it() -> None:
    statuses = load_dialect("adapter").dossier.mandatory.statuses
    assert set(statuses) == set(Status) - BEFORE_RECEPTION
    assert set(statuses.values()) == {("received",)}


def test_the_adapter_promises_no_more_than_existence() -> None:
    assert load_dialect("adapter").abilities == Abilities()


def test_abilities_may_be_set_over_the_dialect() -> None:
    settings = samples.settings(
        "http://127.0.0.1:9/",
        abilities={"lookup": "steps", "late_effect_bound_seconds": 2.5, "lookup_lag_seconds": 0},
    )
    assert settings.abilities.over(Abilities()) == Abilities(
        lookup=Lookup.STEPS, late_effect_bound=2.5, lookup_lag=0
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('stopped = "8"\n', "", "codes.status: no code for stopped"),
        ("[operations.agencies]", "[operations.agencys]", "operations.agencys"),
        ('codes = "channel"', 'codes = "chanel"', "codes: no list chanel"),
        ("send_empty = true", "", "values.send_empty"),
        ('name = "adapter"', 'name = "adapter"\nsurprise = 1', "surprise"),
        ('reason = "already_exists"', 'reason = "exists"', "errors.0.reason"),
        ('received = ["received"]', 'received = ["recieved"]', "mandatory: no field recieved"),
        ("Asia/Ho_Chi_Minh", "Asia/Saigon2", "no time zone"),
        ("[xroad]", "[xroad", "no TOML"),
    ],
)
def test_a_wrong_dialect_is_refused_by_key(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = changed(tmp_path, old, new)
    with pytest.raises(DialectError) as refused:
        load_dialect(str(path))
    assert words in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("name", ["nowhere", "../adapter", "/nowhere/dialect.toml"])
def test_a_dialect_that_is_not_there_is_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(DialectError, match=r"give the path|set an existing file"):
        load_dialect(name)


# --- the dialect against the WSDL ------------------------------------------------------------------


async def opened(dialect: Dialect, **changes: object) -> None:
    client = PortalClient(samples.settings("http://127.0.0.1:9/", **changes), dialect, lambda: 0.0)
    try:
        await client.open()
    finally:
        await client.close()


async def test_the_packaged_dialect_fits_the_packaged_wsdl() -> None:
    await opened(load_dialect("adapter"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            'note = { path = "GhiChu"',
            'note = { path = "GhiChuKhac"',
            "'GhiChuKhac' in DongBoHoSoMC",
        ),
        ('record = "data"', 'record = "hoso"', "'hoso' in DongBoHoSoMC"),
        ('name = "TraCuuHoSo"', 'name = "TimHoSo"', "no operation TimHoSo"),
        ("madonvi =", "maDonVi =", "'maDonVi' in DongBoHoSoMC"),
        ('code = "error_code"', 'code = "ma_loi"', "'ma_loi'"),
        ('session = "session"', 'session = "phien"', "'phien' in login"),
        ('officer = { path = "NguoiXuLy"', 'officer = { path = "CanBo"', "'CanBo' in CapNhat"),
        ('amount = "Gia"', 'amount = "SoTien"', "'SoTien' in DongBoHoSoMC"),
        ('status = "TrangThaiHoSo"', 'status = "TrangThai"', "'TrangThai' in TraCuuHoSo"),
    ],
)
async def test_a_path_that_leads_nowhere_is_found_at_start(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    dialect = load_dialect(str(changed(tmp_path, old, new)))
    with pytest.raises(MisconfiguredError) as refused:
        await opened(dialect)
    assert refused.value.reason is Reason.CONTRACT_MISMATCH
    assert words in refused.value.detail


async def test_a_missing_wsdl_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredError, match="THONGSUOT_NATIONAL_PORTAL__WSDL") as refused:
        await opened(load_dialect("adapter"), wsdl=tmp_path / "none.wsdl")
    assert str(tmp_path / "none.wsdl") in refused.value.detail


@pytest.mark.parametrize(
    "text",
    [
        "no xml",
        "<a/>",
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/">'
        '<wsdl:import namespace="urn:x" location="http://127.0.0.1:1/x.wsdl"/></wsdl:definitions>',
    ],
)
async def test_a_wsdl_that_cannot_be_read_or_would_be_fetched_is_refused(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "portal.wsdl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MisconfiguredError) as refused:
        await opened(load_dialect("adapter"), wsdl=path)
    assert refused.value.reason is Reason.CONTRACT_MISMATCH
    assert str(path) in refused.value.detail


@pytest.mark.parametrize(
    ("text", "normal"),
    [("0", "0"), (" 00 ", "0"), ("-3", "-3"), ("OK", "ok"), ("", None), (None, None)],
)
def test_codes_are_compared_as_numbers_where_they_are(text: str | None, normal: str | None) -> None:
    assert normal_code(text) == normal


def test_an_empty_item_is_no_item() -> None:
    assert get_items({"result": [{"MaHoSo": None}, {"MaHoSo": "x"}]}, "result") == [{"MaHoSo": "x"}]
    assert get_items({"result": {"MaHoSo": "x"}}, "result") == [{"MaHoSo": "x"}]
    assert get_items({}, "result") == []

"""From an event to the wire: before and after, and every reason to refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from connectors.errors import RejectedError
from connectors.national_portal.dialect import load_dialect
from connectors.national_portal.sink import NationalPortal
from schemas.dossier.mappings import CodeList, Codes, MappingOrigin, MappingRow
from schemas.dossier.status import BEFORE_RECEPTION, NATIONAL_CODE, Status
from schemas.reasons import Reason
from schemas.records import (
    ApplicantType,
    Channel,
    DossierEvent,
    DossierTimes,
    OnlinePayment,
    PersonalData,
    ReturnMethod,
    ScoreFields,
    SourceStatus,
)
from tests.unit.national_portal import samples
from tests.unit.national_portal.samples import PERSON, at, event

ALTERNATE = Path(__file__).parents[2] / "fixtures" / "national_portal" / "alternate"
CODES = samples.codes()
SINK = samples.NATIONAL_PORTAL


def wire(changed: DossierEvent, sink: NationalPortal = SINK) -> dict[str, Any]:
    return dict(sink.state_request(changed, CODES).body)


def in_status(status: Status, **changes: Any) -> DossierEvent:
    return event(business_state=SourceStatus(status=status.value, sub_status=None), **changes)


def test_a_whole_dossier() -> None:
    assert wire(event()) == {
        "MaHoSo": samples.CODE,
        "MaTTHC": "1.001193",
        "TenTTHC": "Thủ tục đăng ký khai sinh",
        "MaLinhVuc": "G15-TP02",
        "TenLinhVuc": "Hộ tịch",
        "KenhThucHien": "2",
        "ChuHoSo": "Trần Thị Mộng Kiều",
        "SoGiayToChuHoSo": "096185001234",
        "DinhDanhCHS": [{"LoaiDinhDanh": "1", "SoDinhDanh": "096185001234"}],
        "LoaiDoiTuong": "1",
        "Email": "mongkieu@example.vn",
        "SoDienThoai": "0913 000 111",
        "TrichYeuHoSo": "Đăng ký khai sinh cho cháu bé",
        "NgayNopHoSo": "20261120080000",
        "NgayTiepNhan": "20261120083000",
        "NgayHenTra": "20261125170000",
        "NgayTuChoi": "",
        "TrangThaiHoSo": "4",
        "NgayTra": "",
        "HinhThuc": "0",
        "NgayKetThucXuLy": "",
        "DonViXuLy": "Ủy ban nhân dân xã An Xuyên",
        "GhiChu": "đã gọi điện cho chủ hồ sơ",
        "NoiNopHoSo": "2",
        "HoSoCoThanhPhanSoHoa": "1",
        "TaiKhoanDuocXacThucVoiVNeID": "",
        "DuocThanhToanTrucTuyen": "3",
        "TaiLieuNop": [
            {
                "TepDinhKemId": "F1",
                "TenTepDinhKem": "to-khai-mong-kieu.pdf",
                "IsDeleted": "False",
                "MaThanhPhanHoSo": "TP01",
                "DuongDanTaiTepTin": "https://onestop.example.vn/f/1",
                "DuocSoHoa": "1",
                "DuocTaiSuDung": "",
                "DuocLayTuKhoDMQG": "",
            }
        ],
        "DanhSachLePhi": [{"TenPhiLePhi": "Lệ phí", "MaPhiLePhi": "LP01", "Gia": "8000"}],
        "DanhSachHoSoBoSung": [
            {
                "HoSoBoSungId": "S1",
                "NguoiYeuCauBoSung": "Lê Văn Cán Bộ",
                "NoiDungBoSung": "bổ sung giấy chứng sinh",
                "NgayBoSung": "20261121080000",
                "NguoiTiepNhanBoSung": "",
                "NgayTiepNhanBoSung": "",
                "TrangThaiBoSung": "False",
                "NgayHenTraTruoc": "20261125170000",
                "NgayHenTraMoi": "",
            }
        ],
        "DanhSachGiayToKetQua": [
            {
                "TenGiayTo": "ket-qua.pdf",
                "MaThanhPhanHoSo": "KQ01",
                "GiayToId": "R1",
                "DuongDanTepTinKetQua": "https://onestop.example.vn/f/2",
                "MaGiayToKetQua": "KQ.G07.000122",
            }
        ],
        "DSKetNoiCSDL": [{"MaCSDL": "1"}],
    }


def test_a_step() -> None:
    # The dossier's code is put in when the step is sent: a step may be older than the code.
    assert SINK.step_request(event(dossier_code=None), CODES).body == {
        "MaHoSo": "",
        "NguoiXuLy": "Lê Văn Cán Bộ",
        "ThoiDiemXuLy": "20261120090000",
        "NoiDungXuLy": "Chuyển phòng chuyên môn <xem & xử lý>",
        "TrangThai": "4",
        "NgayKetThucTheoQuyDinh": "20261122080000",
    }


@pytest.mark.parametrize(
    ("changes", "field", "written"),
    [
        ({"channel": Channel.DIRECT}, "KenhThucHien", "1"),
        ({"channel": Channel.POSTAL}, "KenhThucHien", "3"),
        ({"channel": None}, "KenhThucHien", ""),
        ({"applicant_type": ApplicantType.ENTERPRISE}, "LoaiDoiTuong", "2"),
        ({"applicant_type": ApplicantType.STATE_AGENCY}, "LoaiDoiTuong", "3"),
        ({"applicant_type": ApplicantType.ORGANISATION}, "LoaiDoiTuong", "4"),
        ({"return_method": ReturnMethod.POST}, "HinhThuc", "1"),
        ({"born_on_portal": True, "score": ScoreFields()}, "NoiNopHoSo", "1"),
        ({"born_on_portal": False, "score": ScoreFields()}, "NoiNopHoSo", "2"),
        ({"score": ScoreFields(submitted_at_portal=True)}, "NoiNopHoSo", "1"),
        ({"score": ScoreFields()}, "HoSoCoThanhPhanSoHoa", ""),
        ({"score": ScoreFields(has_digitised_components=False)}, "HoSoCoThanhPhanSoHoa", "0"),
        ({"score": ScoreFields(vneid_authenticated=True)}, "TaiKhoanDuocXacThucVoiVNeID", "1"),
        ({"score": ScoreFields()}, "DuocThanhToanTrucTuyen", ""),
        (
            {"score": ScoreFields(online_payment=OnlinePayment.PORTAL)},
            "DuocThanhToanTrucTuyen",
            "1",
        ),
        (
            {"times": DossierTimes(received=at(20), due=at(25), extended=at(28))},
            "NgayHenTra",
            "20261128080000",
        ),
        ({"times": DossierTimes(received=at(20))}, "NgayHenTra", ""),
        (
            {"times": DossierTimes(received=at(20), finished=at(24), returned=at(25))},
            "NgayKetThucXuLy",
            "20261124080000",
        ),
        (
            {"times": DossierTimes(received=at(20), finished=at(24), returned=at(25))},
            "NgayTra",
            "20261125080000",
        ),
    ],
)
def test_single_fields(changes: dict[str, Any], field: str, written: str) -> None:
    assert wire(event(**changes))[field] == written


@pytest.mark.parametrize("status", list(Status))
def test_every_status_leaves_as_its_national_code(status: Status) -> None:
    assert wire(in_status(status))["TrangThaiHoSo"] == NATIONAL_CODE[status]


@pytest.mark.parametrize(
    ("number", "written"),
    [
        ("096185001234", [{"LoaiDinhDanh": "1", "SoDinhDanh": "096185001234"}]),
        ("385123456", [{"LoaiDinhDanh": "2", "SoDinhDanh": "385123456"}]),
        ("0300000001", None),  # a tax code: no kind of its own in the list
        ("١٢٣٤٥٦٧٨٩", None),
        (None, None),
    ],
)
def test_a_personal_number_has_a_kind_where_its_digits_tell(
    number: str | None, written: object
) -> None:
    assert wire(event(replace(PERSON, owner_id_no=number))).get("DinhDanhCHS") == written


def test_a_removed_result_is_left_out_and_a_removed_paper_is_marked() -> None:
    base = event()
    changed = event(
        attachments=(replace(base.attachments[0], removed=True),),
        results=(replace(base.results[0], removed=True),),
    )
    assert wire(changed)["TaiLieuNop"][0]["IsDeleted"] == "True"
    assert "DanhSachGiayToKetQua" not in wire(changed)


# --- refusals --------------------------------------------------------------------------------------


def refused(changed: DossierEvent) -> RejectedError:
    with pytest.raises(RejectedError) as found:
        SINK.state_request(changed, CODES)
    return found.value


@pytest.mark.parametrize("status", list(Status))
def test_the_fields_of_reception_are_mandatory_from_status_2_on_except_3(status: Status) -> None:
    changed = in_status(status, times=DossierTimes(submitted=at(20)))
    if status in BEFORE_RECEPTION:
        assert wire(changed)["NgayTiepNhan"] == ""
    else:
        error = refused(changed)
        assert error.reason is Reason.FIELD_MISSING
        assert error.field == "NgayTiepNhan"
        assert error.detail == f"field=NgayTiepNhan status={NATIONAL_CODE[status]}"


def test_a_refusal_gives_its_time_where_the_source_has_one() -> None:
    times = DossierTimes(submitted=at(20), refused=at(21))
    assert wire(in_status(Status.REFUSED, times=times))["NgayTuChoi"] == "20261121080000"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        (lambda: event(dossier_code=None), "MaHoSo"),
        (lambda: event(dossier_code="  "), "MaHoSo"),
        (lambda: event(applicant_type=None), "LoaiDoiTuong"),
        (lambda: event(return_method=None), "HinhThuc"),
        (lambda: event(replace(PERSON, summary=None)), "TrichYeuHoSo"),
        (lambda: event(replace(PERSON, summary=" \n")), "TrichYeuHoSo"),
    ],
)
def test_what_is_missing_is_named(changed: Callable[[], DossierEvent], field: str) -> None:
    error = refused(changed())
    assert (error.reason, error.field) == (Reason.FIELD_MISSING, field)


@pytest.mark.parametrize(
    ("person", "field", "length", "limit"),
    [
        (replace(PERSON, note="g" * 5000), "GhiChu", 5000, 2000),
        (replace(PERSON, summary="ơ" * 1001), "TrichYeuHoSo", 1001, 1000),
        (replace(PERSON, file_names={"F1": "t" * 4001}), "TaiLieuNop.TenTepDinhKem", 4001, 4000),
        (
            replace(PERSON, file_names={"R1": "t" * 2001}),
            "DanhSachGiayToKetQua.TenGiayTo",
            2001,
            2000,
        ),
    ],
)
def test_what_is_too_long_is_named_and_never_cut(
    person: PersonalData, field: str, length: int, limit: int
) -> None:
    error = refused(event(person))
    assert (error.reason, error.field) == (Reason.FIELD_TOO_LONG, field)
    assert error.detail == f"field={field} length={length} limit={limit}"


def test_a_text_of_exactly_the_limit_passes() -> None:
    assert len(wire(event(replace(PERSON, note="g" * 2000)))["GhiChu"]) == 2000


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\ufffe"])
def test_a_character_that_xml_cannot_carry_is_refused_by_field(character: str) -> None:
    error = refused(event(replace(PERSON, owner_name=f"Trần{character}Kiều")))
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "ChuHoSo")
    assert "Kiều" not in str(error)


@pytest.mark.parametrize("text", ["<&>\"'", "]]>", "dòng 1\ndòng 2\tcột", "Đỗ 🐟", "&amp;"])
def test_a_text_that_is_special_in_xml_passes_as_it_is(text: str) -> None:
    assert wire(event(replace(PERSON, note=text)))["GhiChu"] == text


@pytest.mark.parametrize(
    ("times", "field"),
    [
        (DossierTimes(received=at(20), due=at(19)), "NgayHenTra"),
        (DossierTimes(received=at(20), due=at(25), extended=at(18)), "NgayHenTra"),
        (DossierTimes(received=at(20), finished=at(19)), "NgayKetThucXuLy"),
        (DossierTimes(received=at(20), returned=at(19)), "NgayTra"),
        (DossierTimes(received=datetime(1, 1, 1, tzinfo=UTC)), "NgayTiepNhan"),
        (DossierTimes(received=datetime(2026, 11, 20)), "NgayTiepNhan"),  # noqa: DTZ001  # no zone
    ],
)
def test_an_impossible_time_is_refused_by_field(times: DossierTimes, field: str) -> None:
    error = refused(event(times=times))
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, field)


def test_a_negative_fee_is_refused_by_field() -> None:
    error = refused(event(fees=(replace(event().fees[0], amount=-1),)))
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "DanhSachLePhi.Gia")


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        (
            {"procedure": replace(event().procedure, local_code="XX")},
            "codelist=procedure code=XX matches=0",
        ),
        (
            {"handling_agency": replace(event().handling_agency, code=None)},
            "codelist=agency code=(empty) matches=0",
        ),
        (
            {"business_state": SourceStatus(status="unresolved", sub_status=None)},
            "codelist=status code=unresolved matches=0",
        ),
        (
            {"business_state": SourceStatus(status="done", sub_status="late")},
            "codelist=status code=done/late matches=0",
        ),
    ],
)
def test_what_is_unmapped_is_told_by_list_and_code(changes: dict[str, Any], detail: str) -> None:
    error = refused(event(**changes))
    assert (error.reason, error.detail) == (Reason.UNMAPPED, detail)


def test_codes_are_looked_up_at_the_effective_time() -> None:
    def row(value: str, valid_from: datetime | None, valid_to: datetime | None) -> MappingRow:
        return MappingRow(
            codelist=CodeList.PROCEDURE,
            system=samples.SOURCE,
            code="KS-02",
            value=value,
            valid_from=valid_from,
            valid_to=valid_to,
            origin=MappingOrigin.OPERATOR,
        )

    kept = [each for rows in CODES._rows.values() for each in rows]
    codes = Codes([*kept, row("1.000001", None, at(21)), row("1.000002", at(21), None)])
    procedure = replace(event().procedure, local_code="KS-02")
    before = SINK.state_request(event(procedure=procedure, effective_at=at(20)), codes)
    after = SINK.state_request(event(procedure=procedure, effective_at=at(21)), codes)
    assert (before.body["MaTTHC"], after.body["MaTTHC"]) == ("1.000001", "1.000002")
    assert after.body["TenTTHC"] == "Khai sinh"  # no name in the row: the source's own


def test_a_broken_seal_is_refused_without_content() -> None:
    error = refused(event(sealed=b"\x01" * 64))
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "sealed")


# --- steps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        (lambda: event(replace(PERSON, step_text="")), Reason.FIELD_MISSING, "NoiDungXuLy"),
        (lambda: event(replace(PERSON, step_officer=None)), Reason.FIELD_MISSING, "NguoiXuLy"),
        (
            lambda: event(replace(PERSON, step_officer="c" * 51)),
            Reason.FIELD_TOO_LONG,
            "NguoiXuLy",
        ),
        (lambda: event(step=None), Reason.FIELD_MISSING, "step"),
        (lambda: samples.stepped("x", 1, status="unresolved"), Reason.UNMAPPED, None),
    ],
)
def test_a_step_is_checked_before_it_is_sent(
    changed: Callable[[], DossierEvent], reason: Reason, field: str | None
) -> None:
    with pytest.raises(RejectedError) as found:
        SINK.step_request(changed(), CODES)
    assert (found.value.reason, found.value.field) == (reason, field)


def test_a_step_has_its_own_status() -> None:
    changed = replace(
        samples.stepped("x", 1, status="supplement_requested"),
        business_state=SourceStatus(status="returned", sub_status=None),
    )
    request = SINK.step_request(changed, CODES)
    assert request.body["TrangThai"] == "5"
    assert request.supplement_request


def test_step_keys_differ_in_each_of_the_four_parts_and_survive_the_journey() -> None:
    def key(*step: Any, **named: Any) -> str:
        return SINK.step_request(samples.stepped(*step, **named), CODES).key

    same = key("Chuyển phòng", 1)
    assert key("Chuyển  phòng\n", 1) == same  # blanks change on the way
    others = {
        key("Chuyển phòng khác", 1),
        key("Chuyển phòng", 2),
        key("Chuyển phòng", 1, status="received"),
        key("Chuyển phòng", 1, officer="Người khác"),
    }
    assert len(others | {same}) == 5


def test_a_sent_empty_and_an_absent_supplement_request_differ() -> None:
    assert not SINK.step_request(event(), CODES).supplement_request


# --- hashes and dialects ---------------------------------------------------------------------------


def test_the_hash_covers_what_would_be_sent_and_nothing_else() -> None:
    base = SINK.state_request(event(), CODES).content_hash
    assert SINK.state_request(event(read_seq=99, event_id="other"), CODES).content_hash == base
    assert SINK.state_request(event(channel=None), CODES).content_hash != base


def test_the_alternate_dialect_writes_other_words_and_times() -> None:
    sink = NationalPortal(
        samples.settings("http://127.0.0.1:9/"),
        load_dialect(str(ALTERNATE / "dialect.toml")),
        samples.SEALER,
        samples.HASHER,
    )
    body = wire(event(), sink)
    assert body["header"]["procedure"] == {"code": "1.001193", "name": "Thủ tục đăng ký khai sinh"}
    assert body["progress"]["received"] == "2026-11-20T08:30:00"
    assert body["components"]["component"][0]["deleted"] == "false"
    assert body["databases"] == {"database": ["1"]}
    assert "refused" not in body["progress"]


@given(st.text(max_size=40))
def test_every_text_is_either_refused_or_carried_by_xml_unchanged(text: str) -> None:
    sink = samples.NATIONAL_PORTAL
    try:
        written = sink._state.text("note", text)
    except RejectedError as error:
        reason = error.reason
    else:
        element = etree.Element("a")
        element.text = written
        assert (etree.fromstring(etree.tostring(element)).text or "") == text
        return
    assert reason is Reason.FIELD_INVALID
    with pytest.raises(ValueError, match="XML compatible"):
        etree.Element("a").text = text

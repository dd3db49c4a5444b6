"""Packets as documents and back: by the packaged table and by a quite different one, in XML and in JSON."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import RejectedError
from connectors.gov_reporting import encoding
from connectors.gov_reporting.elements import Elements, Encoding, Envelope, load_elements
from connectors.gov_reporting.mapping import PacketUnreadable, Reader, Writer
from schemas.reasons import Reason
from schemas.reports import packets as p
from schemas.reports.kinds import PacketKind
from tests.unit.reports.contents import FIGURES, SAMPLES, STATUS, any_content

OTHER = Path(__file__).parents[2] / "fixtures" / "gov_reporting" / "other-elements.toml"
TABLES = {"packaged": load_elements(), "other": load_elements(OTHER)}


def envelope(content: p.Content) -> Envelope:
    return Envelope(
        message_id="a-1",
        kind=p.kind_of(content),
        sender="H44",
        receiver="G22",
        regime="II.06",
        form="II.06a",
        form_version="TT01/2020",
        period="2026-08",
        window_from=date(2026, 7, 15),
        window_to=date(2026, 8, 14),
        due_on=date(2026, 8, 25),
        agency="H44",
        revision=2,
        snapshot_hash="cd" * 32,
        known_at=datetime(2026, 8, 14, 17, 0, tzinfo=UTC),
        approved_at=datetime(2026, 8, 20, 3, 4, 5, tzinfo=UTC),
    )


def unsent(content: p.Content) -> Envelope:
    """Before it has a message id."""
    return replace(envelope(content), message_id="")


def there_and_back(
    table: Elements, how: Encoding, sent: Envelope, content: p.Content
) -> tuple[Envelope, p.Content]:
    document = Writer(table, how).packet(sent, content)
    document = Writer(table, how).under(document, sent.message_id)
    data = encoding.write(document, how, table.xml.namespace)
    return Reader(table).packet(encoding.read(data, how, table.xml.namespace))


@pytest.mark.parametrize("kind", PacketKind)
@pytest.mark.parametrize("how", Encoding)
@pytest.mark.parametrize("table", TABLES)
def test_a_packet_of_every_kind_is_read_as_it_was_written(
    table: str, how: Encoding, kind: PacketKind
) -> None:
    content = SAMPLES[kind]
    sent = envelope(content)
    assert there_and_back(TABLES[table], how, sent, content) == (sent, content)


@settings(max_examples=60)
@given(
    st.sampled_from(PacketKind).flatmap(any_content),
    st.sampled_from(Encoding),
)
def test_whatever_a_packet_holds_is_read_as_it_was_written(
    content: p.Content, how: Encoding
) -> None:
    sent = envelope(content)
    assert there_and_back(TABLES["packaged"], how, sent, content) == (sent, content)


def test_the_other_table_really_is_another() -> None:
    """Else the tests above would prove nothing: names, nesting, dates, codes and numbers differ."""
    ours, theirs = (
        encoding.write(
            Writer(table, Encoding.JSON).packet(envelope(FIGURES), FIGURES), Encoding.JSON
        ).decode()
        for table in TABLES.values()
    )
    assert '"MaKyBaoCao":"2026-08"' in ours
    assert '"TuNgay":"2026-07-15"' in ours
    assert '"LoaiGoiTin":"SoLieuBaoCao"' in ours
    assert '{"MaChiTieu":"c3","SoLieu":10}' in ours
    assert '"period":"08/2026"' in theirs
    assert '"from":"15/07/2026"' in theirs
    assert '"packetType":"4"' in theirs
    assert '"col_3":"10"' in theirs
    assert not {"GoiTin", "TieuDe", "SoLieu"} & set(theirs.split('"'))


def test_the_wire_in_xml_is_what_the_table_says() -> None:
    data = encoding.write(
        Writer(TABLES["packaged"], Encoding.XML).packet(unsent(STATUS), STATUS),
        Encoding.XML,
        TABLES["packaged"].xml.namespace,
    ).decode()
    assert data.startswith("<?xml version='1.0' encoding='utf-8'?>\n<GoiTin xmlns=")
    assert "<TieuDe><MaGoiTin></MaGoiTin><LoaiGoiTin>TrangThaiBaoCao</LoaiGoiTin>" in data.replace(
        "<MaGoiTin/>", "<MaGoiTin></MaGoiTin>"
    )
    assert "<DanhSachLyDo><LyDo>Cột 7 không khớp</LyDo><LyDo>Thiếu đơn vị</LyDo>" in data
    assert "<ThoiDiem>2026-08-26T09:30:00.000000+0700</ThoiDiem>" in data


def test_the_message_id_is_filled_in_without_touching_the_packet() -> None:
    writer = Writer(TABLES["packaged"], Encoding.JSON)
    document = writer.packet(unsent(FIGURES), FIGURES)
    first, second = writer.under(document, "a-7"), writer.under(document, "a-8")
    assert first.tree["TieuDe"]["MaGoiTin"] == "a-7"
    assert second.tree["TieuDe"]["MaGoiTin"] == "a-8"
    assert document.tree["TieuDe"]["MaGoiTin"] == ""
    assert first.tree["SoLieu"] is document.tree["SoLieu"]


@pytest.mark.parametrize(
    ("content", "reason", "field"),
    [
        (replace(FIGURES, unit=""), Reason.FIELD_MISSING, "SoLieu.DonViTinh"),
        (replace(FIGURES, unit="x" * 51), Reason.FIELD_TOO_LONG, "SoLieu.DonViTinh"),
        (replace(FIGURES, note="Bí mật\x01"), Reason.FIELD_INVALID, "SoLieu.GhiChu"),
        (
            replace(STATUS, decided_at=datetime(1066, 1, 1, tzinfo=UTC)),
            Reason.FIELD_INVALID,
            "TrangThai.ThoiDiem",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused_by_the_name_of_its_element(
    content: p.Content, reason: Reason, field: str
) -> None:
    with pytest.raises(RejectedError) as refused:
        Writer(TABLES["packaged"], Encoding.XML).packet(envelope(content), content)
    assert (refused.value.reason, refused.value.field) == (reason, field)
    assert "mật" not in str(refused.value)


def _broken(find: str, put: str) -> bytes:
    table = TABLES["packaged"]
    document = Writer(table, Encoding.XML).packet(envelope(FIGURES), FIGURES)
    data = encoding.write(document, Encoding.XML, table.xml.namespace)
    assert find.encode() in data
    return data.replace(find.encode(), put.encode())


@pytest.mark.parametrize(
    ("find", "put", "words"),
    [
        ("<LoaiGoiTin>SoLieuBaoCao<", "<LoaiGoiTin>Nguyễn Văn A<", "TieuDe.LoaiGoiTin"),
        ("<SoLieu>10<", "<SoLieu>mười<", "SoLieu.DanhSachDong.Dong.ChiTieu.SoLieu"),
        ("<SoLieu>10<", "<SoLieu>1e1<", "SoLieu.DanhSachDong.Dong.ChiTieu.SoLieu"),
        ("<MaChiTieu>c3</MaChiTieu><SoLieu>10<", "<MaChiTieu>c99</MaChiTieu><SoLieu>10<", "codes"),
        ("<TuNgay>2026-07-15<", "<TuNgay>15/07/2026<", "TieuDe.TuNgay"),
        ("<DonViTinh>hồ sơ</DonViTinh>", "", "SoLieu.DonViTinh: missing"),
        ("<DonViTinh>hồ sơ</DonViTinh>", "<DonViTinh><A/></DonViTinh>", "SoLieu.DonViTinh"),
        (
            "<MaPhanTo>sector</MaPhanTo></DanhSach",
            "<MaPhanTo>agency</MaPhanTo></DanhSach",
            "in no list",
        ),
    ],
)
def test_a_document_that_is_no_packet_is_refused_by_the_name_of_its_element(
    find: str, put: str, words: str
) -> None:
    table = TABLES["packaged"]
    document = encoding.read(_broken(find, put), Encoding.XML, table.xml.namespace)
    with pytest.raises(PacketUnreadable) as refused:
        Reader(table).packet(document)
    assert words in str(refused.value)
    assert "Nguyễn" not in str(refused.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<a",
        b"{}",
        b"<!DOCTYPE a [<!ENTITY x 'y'>]><GoiTin xmlns='urn:vn:thongsuot:bao-cao:1'>&x;</GoiTin>",
        b"<GoiTin/>",
        b"<GoiTin xmlns='urn:vn:thongsuot:bao-cao:1'>"
        + b"<a>" * 300
        + b"</a>" * 300
        + b"</GoiTin>",
    ],
)
def test_bytes_that_are_no_document_are_unreadable(data: bytes) -> None:
    with pytest.raises(encoding.Unreadable):
        encoding.read(data, Encoding.XML, TABLES["packaged"].xml.namespace)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"a": NaN}', b"\xff\xfe", b"[" * 99_999])
def test_bytes_that_are_no_json_object_are_unreadable(data: bytes) -> None:
    with pytest.raises(encoding.Unreadable):
        encoding.read(data, Encoding.JSON)

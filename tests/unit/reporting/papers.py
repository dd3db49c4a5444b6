"""A form to print, and what a reader of its own finds in the printed file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from io import BytesIO
from random import Random

import pypdf

from streams.reporting.documents.form_206 import ISSUED_BY, NOTES, NUMBER, TITLE, UNIT, Key, Names
from streams.reporting.documents.sheet import Meta

HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

NAMES = Names(
    agencies={
        "H44.01": "Sở Nông nghiệp và Môi trường",
        "H44.02": "Ban Quản lý các khu công nghiệp và khu kinh tế cửa khẩu quốc tế phía Bắc tỉnh",
        **{f"H44.{n}": f"Ủy ban nhân dân xã Nguyễn Huệ Thượng {n}" for n in range(100, 180)},
    },
    sectors={
        "G01": "Đất đai",
        "G02": "Thành lập và hoạt động của doanh nghiệp (hộ kinh doanh), hợp tác xã",
    },
    procedures={"1.000001": "Đăng ký, cấp Giấy chứng nhận quyền sử dụng đất lần đầu & sửa đổi"},
)


def meta(form: str = "II.06a", **changes: object) -> Meta:
    """What stands around form II.06a, or another."""
    told: dict[str, object] = {
        "number": NUMBER[form],
        "issued_by": ISSUED_BY,
        "title": TITLE[form],
        "period": "Tháng 10/2026",
        "first": date(2026, 9, 15),
        "last": date(2026, 10, 14),
        "reporter": "Ủy ban nhân dân tỉnh Phú Thọ",
        "receiver": "Văn phòng Chính phủ (Cục Kiểm soát thủ tục hành chính)",
        "unit": UNIT,
        "place": "Phú Thọ",
        "revision": 2,
        "snapshot_hash": HASH,
        "known_at": datetime(2026, 10, 14, 17, 0, tzinfo=UTC),
        "notes": NOTES,
        **changes,
    }
    return Meta(**told)  # type: ignore[arg-type]


def rows(units: int = 2, seed: int = 1) -> dict[Key, tuple[int, ...]]:
    """Leaf rows that balance, of so many units, two sectors each and up to two procedures each."""
    dice = Random(seed)
    found: dict[Key, tuple[int, ...]] = {}
    for agency in sorted(NAMES.agencies)[:units]:
        for sector in ("G01", "G02"):
            for procedure in ("1.000001", "1.000002.000.00.00.H44"):
                c4, c5, c6 = (dice.randrange(4000) for _ in range(3))
                c3 = c4 + c5 + c6
                c7 = dice.randrange(c3 + 1)
                c8 = dice.randrange(c7 + 1)
                c9 = dice.randrange(c7 - c8 + 1)
                c12 = dice.randrange(c3 - c7 + 1)
                c11 = c3 - c7
                found[agency, sector, procedure] = (
                    *(c3, c4, c5, c6),
                    *(c7, c8, c9, c7 - c8 - c9),
                    *(c11, c12, c11 - c12),
                )
    return found


def pages_of(pdf: bytes) -> list[list[tuple[float, float, str]]]:
    """The texts of each page as a reader finds them: where they begin (x, y), and what they say."""
    found = []
    for page in pypdf.PdfReader(BytesIO(pdf)).pages:
        texts: list[tuple[float, float, str]] = []

        def see(text: str, cm: Sequence[float], tm: Sequence[float], *_: object) -> None:
            if text.strip():
                texts.append((tm[4] + cm[4], tm[5] + cm[5], text.strip()))  # noqa: B023

        page.extract_text(visitor_text=see)
        found.append(texts)
    return found

"""`thongsuot report regimes`, `map`, `fill`, `outline` and `document`, as people run them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pypdf
import pytest
from openpyxl import load_workbook
from sqlalchemy import Connection

from schemas.ledger import regimes, report_store
from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.regimes import FormPlace, RefusedPacket
from schemas.ledger.report_store import Frozen, Report
from schemas.ledger.sql import SqlLedger
from schemas.reports.periods import Calendar, PeriodKind, Window
from schemas.reports.regimes import RegimeFault
from schemas.reports.snapshots import Row, Snapshot
from schemas.sealing import Sealer
from streams.reporting import regime_commands
from streams.reporting.approvals import actor_named
from streams.reporting.documents.cells_form import NOTES
from streams.reporting.filling import Outcome
from streams.reporting.outlines import open_outline, owner_of
from streams.reporting.regime_filling import RegimeFilling
from streams.settings import Settings
from tests.unit.cli.running import run, set_environment
from tests.unit.reporting.papers import rows
from tests.unit.reporting.regimes_received import AT, FORM, REGIME, WHOLE

NOW = datetime(2026, 9, 16, 3, 0, tzinfo=UTC)
TABLE = (
    "row,column,source,argument,optional\n"
    "A1,th,constant,98.5,\nA1,kh,constant,95,\nA2,th,constant,100,\nA2,kh,none,,yes\n"
)
WORDS = 'title = "Báo cáo"\n[parts]\n1 = "Ông Nguyễn Văn Thử đã làm."\n'
WINDOW = Window(date(2026, 9, 15), date(2026, 10, 14))
REPORT = Report(
    regime="II.06",
    period="2026-10",
    agency="H44",
    kind=PeriodKind.MONTH,
    calendar=Calendar.DECREE,
    window=WINDOW,
    units_due_on=date(2026, 10, 20),
    due_on=date(2026, 10, 25),
)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger that received one whole regime, and the settings that name it."""
    found = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(found)
    set_environment(monkeypatch, LEDGER_URL=found, REPORTING__AGENCY="H44")
    monkeypatch.setattr(regime_commands, "_now", lambda: NOW)

    def receive(c: Connection) -> None:
        for number, content in enumerate(WHOLE):
            regimes.put_catalogue(c, f"n{number}", content, AT)

    write(found, receive)
    return found


def write(url: str, *work: Callable[[Connection], Any]) -> None:
    async def run() -> None:
        lane = Lane(url, "test", seconds=None)
        for each in work:
            await lane.write(each)
        await lane.close()

    asyncio.run(run())


def told(*arguments: str) -> Any:
    ended = run("report", *arguments, "--json")
    assert ended.exit_code == 0, ended.stderr
    return json.loads(ended.stdout)


def refused(*arguments: str) -> str:
    ended = run("report", *arguments)
    assert ended.exit_code == 2, (ended.stdout, ended.stderr)
    return ended.stderr


def map_whole(tmp_path: Path, table: str = TABLE) -> Any:
    file = tmp_path / "map.csv"
    file.write_text(table, "utf-8")
    return told("map", "CDS", "CDS.01", str(file))


# --- regimes -----------------------------------------------------------------------------------------


def test_a_regime_is_listed_with_what_is_missing_and_what_is_due(url: str, tmp_path: Path) -> None:
    (before,) = told("regimes")
    assert (before["code"], before["usable"], before["mapped"]) == ("CDS", True, False)
    assert before["unmapped_forms"] == ["CDS.01", "CDS.DC"]
    assert before["last_due"] == {"period": "2026-08", "due_on": "2026-08-25", "submitted_at": None}
    assert before["next_due"]["period"] == "2026-09"
    assert [one["in_force"] for one in before["versions"]] == [True]
    map_whole(tmp_path)
    (after,) = told("regimes")
    # Its outline is not sent in this version, so the regime is not answered as a whole.
    assert (after["mapped"], after["unmapped_forms"]) == (False, ["CDS.DC"])
    assert after["answered"] is False
    shown = run("report", "regimes").stdout
    assert "Báo cáo chuyển đổi số" in shown
    assert "0/1 chế độ đã kết nối" in shown


def test_faults_and_refused_packets_are_listed(url: str) -> None:
    def worse(c: Connection) -> None:
        regimes.put_catalogue(c, "n9", replace(FORM, regime="XX"), AT)
        regimes.put_refused(
            c,
            RefusedPacket(
                packet_id="n10",
                reason="unreadable",
                detail="element=Ma",
                sealed=b"x",
                received_at=AT,
            ),
        )

    write(url, worse)
    found = told("regimes", "--faults")
    assert [(one["packet_id"], one["faults"]) for one in found["received"]] == [
        ("n9", [{"fault": "unknown_regime", "about": "XX"}])
    ]
    assert [(one["packet_id"], one["reason"]) for one in found["refused"]] == [
        ("n10", "unreadable")
    ]
    shown = run("report", "regimes", "--faults").stdout
    assert "chưa nhận chế độ báo cáo" in shown
    assert "từ chối" in shown


def test_every_fault_and_outcome_has_its_word() -> None:
    assert set(regime_commands.FAULTS) == set(RegimeFault)
    assert set(regime_commands.OUTCOMES) == set(NOTES) == set(Outcome)


# --- map and fill ------------------------------------------------------------------------------------


def test_a_table_is_taken_and_the_form_can_be_filled(url: str, tmp_path: Path) -> None:
    assert map_whole(tmp_path)["new"] is True
    assert map_whole(tmp_path)["new"] is False
    (one,) = told("fill", "CDS", "--period", "2026-09")
    assert one["can_be_sent"] is True
    assert [
        (cell["row"], cell["column"], cell["value"], cell["outcome"]) for cell in one["cells"]
    ] == [
        ("A1", "th", 98.5, "filled"),
        ("A1", "kh", 95, "filled"),
        ("A2", "th", 100, "filled"),
        ("A2", "kh", None, "empty"),
    ]


def test_cells_without_a_source_come_first_and_keep_the_form_back(url: str, tmp_path: Path) -> None:
    map_whole(tmp_path, TABLE.replace("A2,th,constant,100,\n", ""))
    (one,) = told("fill", "CDS", "--period", "2026-09")
    assert (one["can_be_sent"], one["blocking"]) == (False, 1)
    first = one["cells"][0]
    assert (first["row"], first["column"], first["outcome"]) == ("A2", "th", "unmapped")
    shown = run("report", "fill", "CDS", "--period", "2026-09").stdout
    assert "chưa gửi được" in shown
    assert shown.index("chưa khai báo nguồn") < shown.index("có số liệu")


def test_a_wrong_table_is_refused_with_all_faults_and_changes_nothing(
    url: str, tmp_path: Path
) -> None:
    map_whole(tmp_path)
    file = tmp_path / "wrong.csv"
    file.write_text(TABLE.replace("98.5", "nhiều").replace("A2,th", "A9,th"), "utf-8")
    stderr = refused("map", "CDS", "CDS.01", str(file))
    assert "line 2, column argument" in stderr
    assert "line 4, column row" in stderr
    (one,) = told("fill", "CDS", "--period", "2026-09")
    assert one["can_be_sent"] is True


def test_the_table_that_is_there_is_printed_and_can_be_given_back(url: str, tmp_path: Path) -> None:
    empty = run("report", "map", "CDS", "CDS.01")
    assert empty.stdout.splitlines()[:2] == ["row,column,source,argument,optional", "A1,th,,,"]
    assert "4 ô chưa có nguồn số liệu" in empty.stderr
    map_whole(tmp_path)
    printed = run("report", "map", "CDS", "CDS.01").stdout
    assert map_whole(tmp_path, printed)["cells"] == map_whole(tmp_path)["cells"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("fill", "CDX", "--period", "2026-09"), "no regime CDX was received; near: CDS"),
        (("fill", "CDS", "--period", "2026-01"), "regime CDS has no period 2026-01"),
        (("fill", "CDS", "--period", "2026-09", "--form", "X"), "has no form of figures X"),
        (("map", "CDS", "CDS.09"), "has not exactly one form CDS.09"),
        (("map", "CDS", "CDS.01", "--form-version", "7"), "there are: CDS.01 1, CDS.DC 1"),
        (("map", "CDS", "CDS.DC"), "an outline has words only"),
        (("map", "CDS", "CDS.01", "--submitted-by", "Trần Thị Mẫu"), "not a name"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    url: str, arguments: tuple[str, ...], why: str
) -> None:
    assert why in refused(*arguments)


def test_a_regime_that_is_not_whole_yet_says_where_to_look(url: str) -> None:
    other = replace(REGIME, code="KHAC", forms=())
    write(url, lambda c: regimes.put_catalogue(c, "n9", other, AT))
    assert "report regimes --faults" in refused("fill", "KHAC", "--period", "2026-09")


# --- words -------------------------------------------------------------------------------------------


def test_the_words_of_a_report_are_kept_sealed(url: str, tmp_path: Path) -> None:
    file = tmp_path / "de-cuong.toml"
    file.write_text(WORDS, "utf-8")
    assert told("outline", "CDS", "CDS.DC", str(file), "--period", "2026-09")["parts"] == 1
    assert "Thử".encode() not in (tmp_path / "ledger.db").read_bytes()
    place = FormPlace("CDS", "CDS.DC", "1")

    async def look() -> str:
        lane = Lane(url, "test", seconds=None)
        sealed = await lane.read(
            lambda c: regimes.outline(c, place, period="2026-09", agency="H44")
        )
        await lane.close()
        assert sealed is not None
        wanted = Settings()  # type: ignore[call-arg] # from the environment
        async with SqlLedger(url) as ledger:
            sealer = await Sealer.load(ledger, wanted.master_key_bytes(), datetime.now(UTC))
        return open_outline(sealer, sealed, owner_of(place, "2026-09", "H44")).parts[0].text

    assert asyncio.run(look()) == "Ông Nguyễn Văn Thử đã làm."


def test_wrong_words_are_refused_and_not_quoted(url: str, tmp_path: Path) -> None:
    file = tmp_path / "de-cuong.toml"
    file.write_text(WORDS + '9 = "Lê Văn Lạ"\n', "utf-8")
    stderr = refused("outline", "CDS", "CDS.DC", str(file), "--period", "2026-09")
    assert "column 9" in stderr
    assert "Lê Văn Lạ" not in stderr
    assert "this form holds figures" in refused(
        "outline", "CDS", "CDS.01", str(file), "--period", "2026-09"
    )


# --- documents ---------------------------------------------------------------------------------------


def freeze(c: Connection) -> None:
    columns = tuple(f"c{number}" for number in range(3, 14))
    kept = Snapshot(
        regime="II.06",
        period="2026-10",
        agency="H44",
        form_version="TT01/2020",
        window=WINDOW,
        known_at=WINDOW.cut_off,
        rules={},
        columns=columns,
        rows=tuple(Row(*key, figures) for key, figures in rows().items()),
    )
    officer = actor_named("Trần Thị Mẫu")
    report_store.open_report(c, REPORT, officer)
    report_store.freeze(
        c, REPORT, 1, 1, Frozen(snapshot=kept), officer, units_due_on=REPORT.units_due_on
    )


def test_a_frozen_report_is_printed_the_same_each_time(url: str, tmp_path: Path) -> None:
    write(url, freeze)
    files = [tmp_path / name for name in ("a.xlsx", "a.pdf", "b.xlsx", "b.pdf")]
    for xlsx, pdf in (files[:2], files[2:]):
        found = told("document", "2026-10", "--xlsx", str(xlsx), "--pdf", str(pdf))
    assert (found["revision"], found["draft"]) == (1, True)
    assert files[0].read_bytes() == files[2].read_bytes()
    assert files[1].read_bytes() == files[3].read_bytes()
    text = pypdf.PdfReader(BytesIO(files[1].read_bytes())).pages[0].extract_text()
    assert found["snapshot_hash"] in text
    assert "dự thảo, chưa được duyệt" in text
    assert "tháng 10/2026" in text
    page = load_workbook(files[0]).active
    assert page is not None
    sums = [sum(column) for column in zip(*rows().values(), strict=True)]
    (total,) = [row for row in page.iter_rows(values_only=True) if row[1] == "TỔNG CỘNG"]
    assert list(total[2:13]) == sums


def test_the_other_form_of_the_same_figures_is_printed_too(url: str, tmp_path: Path) -> None:
    write(url, freeze)
    file = tmp_path / "b.pdf"
    told("document", "2026-10", "--form", "II.06b", "--pdf", str(file))
    text = "".join(page.extract_text() for page in pypdf.PdfReader(file).pages)
    assert "Biểu số II.06b/VPCP/KSTT" in text
    assert "1.000002.000.00.00.H44" in text


def test_a_regimes_form_is_printed_from_its_frozen_cells(url: str, tmp_path: Path) -> None:
    map_whole(tmp_path)

    async def take() -> None:
        lane = Lane(url, "test", seconds=None)
        window = Window(date(2026, 8, 15), date(2026, 9, 14))
        report = Report(
            regime="CDS",
            period="2026-09",
            agency="H44",
            kind=PeriodKind.MONTH,
            calendar=Calendar.DECREE,
            window=window,
            units_due_on=date(2026, 9, 20),
            due_on=date(2026, 9, 25),
        )
        officer = actor_named("Trần Thị Mẫu")
        await lane.write(lambda c: report_store.open_report(c, report, officer))
        found = await RegimeFilling(lane, "CDS").count(report, window.cut_off, None)
        await lane.write(
            lambda c: report_store.freeze(
                c, report, 1, 1, found, officer, units_due_on=report.units_due_on
            )
        )
        await lane.close()

    asyncio.run(take())
    file = tmp_path / "cds.pdf"
    told("document", "2026-09", "--regime", "CDS", "--form", "CDS.01", "--pdf", str(file))
    text = pypdf.PdfReader(file).pages[0].extract_text()
    for words in ("KẾT QUẢ CHUYỂN ĐỔI SỐ", "Đúng hạn – Cột th", "98,5", "để trống", "Đơn vị tính"):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("document", "2026-10"), "give --xlsx or --pdf"),
        (("document", "2026-11", "--pdf", "x.pdf"), "II.06/2026-11/H44: nothing was frozen"),
        (("document", "10/2026", "--pdf", "x.pdf"), "write a period as"),
        (("document", "2026-10", "--revision", "2", "--pdf", "x.pdf"), "of revision 2"),
        (
            ("document", "2026-10", "--form", "II.07b", "--pdf", "x.pdf"),
            "there are: II.06a, II.06b",
        ),
        (("document", "2026-10", "--pdf", "/nowhere/x.pdf"), "No such file or directory"),
    ],
)
def test_a_document_that_cannot_be_is_refused(
    url: str, arguments: tuple[str, ...], why: str
) -> None:
    write(url, freeze)
    assert why in refused(*arguments)

"""The invented people of a demo day are nowhere in the hub in clear: every topic, table, log and metric.

They are where they belong, in the one-stop system and at the portal: the same search finds them there.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from schemas.ledger.sql import SqlLedger
from streams.trace import Story
from tests.e2e.people_search import Search, forms, told, values
from tests.e2e.played import Commanded, PlayedDay

SOMEBODY = {
    "name": "Nguyễn Thị Mỹ Ái",
    "id_no": "999123000456",
    "phone": "0000000456",
    "email": "nguyenthimyai.456@congdan.example",
    "address": "Số 12, đường Đề Thám, xã Khánh An",
    "contact": "Nguyễn Thị Mỹ Ái",
}


@pytest.fixture(scope="module")
def people(played: PlayedDay) -> Mapping[str, set[str]]:
    return told(played.journal.people())


@pytest.fixture(scope="module")
def search(people: Mapping[str, set[str]]) -> Search:
    return Search(people)


# --- the search itself ------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["name", "id_no", "phone", "email", "address"])
def test_the_search_finds_every_form(field: str) -> None:
    search = Search(told([SOMEBODY]))
    for form, raw in forms(SOMEBODY[field]).items():
        found = search.hits([("somewhere", b"\x00{" + raw + b"}\xff")])
        assert {(hit.place, hit.field) for hit in found} == {("somewhere", field)}, form


def test_the_search_finds_a_name_in_base64_wherever_it_stands() -> None:
    search = Search(told([SOMEBODY]))
    for before in range(6):
        text = "x" * before + SOMEBODY["name"] + " và vợ"
        assert search.hits([("here", base64.b64encode(text.encode()))])


def test_the_search_finds_nobody_where_nobody_is() -> None:
    search = Search(told([SOMEBODY]))
    assert search.hits([("here", "Nguyễn Thị Mỹ, số 12, đường Đề Thám, 999123000".encode())]) == []


# --- where they belong ------------------------------------------------------------------------------


def test_there_are_people_to_look_for(played: PlayedDay, people: Mapping[str, set[str]]) -> None:
    for field in ("name", "id_no", "phone", "email", "address"):
        assert len(people[field]) >= played.options.dossiers
    assert people["contact"], "companies have a representative"


def test_control_the_one_stop_system_knows_all_applicants(
    played: PlayedDay, people: Mapping[str, set[str]], search: Search
) -> None:
    found = search.found(raw for _, raw in values(played.folder / "onestop.db"))
    for field in ("id_no", "phone", "email", "address", "contact"):
        assert found[field] == people[field]
    applicants = {p["name"] for p in played.journal.people() if p["kind"] != "officer"}
    assert applicants <= found["name"]


def test_control_the_portal_knows_those_who_were_delivered(
    played: PlayedDay, people: Mapping[str, set[str]], search: Search
) -> None:
    found = search.found(raw for _, raw in values(played.folder / "portal.db"))
    for field in ("id_no", "phone", "email"):
        assert len(found[field]) > 0.8 * len(people[field])
    assert len(found["name"]) > 100, "applicants and officers"


def test_control_the_journal_s_file_is_searched_byte_by_byte(
    played: PlayedDay, search: Search
) -> None:
    files = [(path.name, path.read_bytes()) for path in played.folder.glob("journal.db*")]
    assert search.hits(files)


# --- where they must not be -------------------------------------------------------------------------


def test_nobody_is_on_a_topic(played: PlayedDay, search: Search) -> None:
    topics = {message.topic for message in played.messages}
    assert topics == {"onestop.notices", "dossier.events", "delivery.receipts"}
    assert search.hits((m.topic, m.raw) for m in played.messages) == []


def test_nobody_is_in_a_table_of_the_ledger(played: PlayedDay, search: Search) -> None:
    found = values(played.folder / "ledger.db")
    tables = {place.partition(".")[0] for place, _ in found}
    assert {"events", "dossiers", "timeline", "deliveries", "attempts", "content"} <= tables
    assert search.hits(found) == []


def test_nobody_is_in_the_ledger_s_files(played: PlayedDay, search: Search) -> None:
    """Byte by byte: free pages and the write-ahead log too."""
    assert len(played.ledger_files["ledger.db"]) > 100_000
    assert len(played.ledger_files["ledger.db-wal"]) > 100_000
    assert search.hits(played.ledger_files.items()) == []


def test_nobody_is_in_a_log(played: PlayedDay, search: Search) -> None:
    logs = {path.name: path.read_bytes() for path in played.folder.glob("*.log")}
    assert b'"event":"parked"' in logs["worker.log"].replace(b" ", b"")
    assert search.hits(logs.items()) == []


def test_nobody_is_in_a_metric(played: PlayedDay, search: Search) -> None:
    assert "hub_parked{" in played.metrics
    assert search.hits([("/metrics", played.metrics.encode())]) == []


async def test_nobody_is_in_the_story_of_a_dossier(played: PlayedDay, search: Search) -> None:
    """What the command printed of one, and what it would print of every other."""
    printed = [(name, text.encode()) for name, text in played.traced.items()]
    zone = ZoneInfo("Asia/Ho_Chi_Minh")
    async with SqlLedger(f"sqlite:///{played.folder / 'ledger.db'}") as ledger:
        for (dossier_id,) in played.rows("select dossier_id from dossiers"):
            story = Story(dossier_id, await ledger.trace(dossier_id), zone)
            console = Console(file=io.StringIO(), width=200)
            console.print(story.table())
            assert isinstance(console.file, io.StringIO)
            printed.append(("every table", console.file.getvalue().encode()))
            printed.append(("every object", str(story.as_dict()).encode()))
    assert len(printed) > 50
    assert search.hits(printed) == []


def test_nobody_is_on_the_screen_of_the_demo(commanded: Commanded, played: PlayedDay) -> None:
    ended = commanded.ended
    people = told(type(played.journal)(commanded.folder / "journal.db").people())
    told_on_screen = [("screen", ended.stdout.encode()), ("screen", ended.stderr.encode())]
    log = [("worker.log", (commanded.folder / "worker.log").read_bytes())]
    assert Search(people).hits([*told_on_screen, *log]) == []


# --- what they wrote --------------------------------------------------------------------------------


def written(one_stop: Path) -> dict[str, set[str]]:
    """Free text of the day: notes, summaries, names of papers."""
    columns = {
        "note": ("opencps_dossieraction", "actionNote"),
        "summary": ("opencps_dossier", "dossierName"),
        "paper": ("opencps_dossierfile", "displayName"),
    }
    with closing(connect(f"file:{one_stop}?mode=ro", uri=True)) as db:
        return {
            name: {
                row[0]
                for row in db.execute(f"select distinct {column} from {table}")
                if row[0] and len(row[0]) >= 8
            }
            for name, (table, column) in columns.items()
        }


def test_no_free_text_is_in_clear_either(played: PlayedDay) -> None:
    texts = written(played.folder / "onestop.db")
    assert all(len(found) > 5 for found in texts.values())
    search = Search(texts)
    portal = search.found(raw for _, raw in values(played.folder / "portal.db"))
    assert portal["note"], "the same search finds them at the portal"
    assert portal["summary"]
    assert portal["paper"]
    places = [
        *((message.topic, message.raw) for message in played.messages),
        *played.ledger_files.items(),
        *((path.name, path.read_bytes()) for path in played.folder.glob("*.log")),
        ("/metrics", played.metrics.encode()),
        *((f"trace {name}", text.encode()) for name, text in played.traced.items()),
    ]
    assert search.hits(places) == []

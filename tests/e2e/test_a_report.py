"""A month's report from dossiers to the reporting system and back, told once, with every part the real one.

Dossiers come over the log into a SQLite ledger; the reporting service counts, freezes, is signed and publishes; the
engine delivers to the simulated reporting system, a process of its own; what that decides comes back. Judged by what
each dossier here says of itself, and by the simulator's truth. Only the calendar is chosen. Everything is invented.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import openpyxl
import pytest
from typer.testing import Result

import streams.reporting.commands as report_commands
from connectors.gov_reporting.elements import load_elements
from connectors.gov_reporting.encoding import Document
from connectors.gov_reporting.inbox import Inbox as Mailbox
from connectors.gov_reporting.mapping import Reader
from connectors.gov_reporting.sink import GovReporting
from schemas.dossier.mappings import CodeList, Codes
from schemas.dossier.status import Status
from schemas.ledger import report_store
from schemas.ledger.code_mappings import mapping_rows
from schemas.ledger.database import Lane
from schemas.ledger.model import SingletonFence
from schemas.ledger.report_store import Take
from schemas.records import (
    Channel,
    CodeName,
    DossierEvent,
    EventKind,
    Feed,
    Procedure,
    identity_only,
)
from schemas.reports.packets import Figures, canonical
from schemas.reports.states import State
from schemas.sealing import Hasher
from schemas.topics import DOSSIER_EVENTS, REPORT_PACKETS, TOPICS
from streams.demo.processes import PortalControl, end, start_simulator
from streams.embedded_broker import EmbeddedBroker
from streams.reference import read_reference
from streams.reporting.approvals import Desk, actor_named
from streams.reporting.closing import Closing, ClosingOptions
from streams.reporting.counting import Filling
from streams.reporting.inbox import Inbox
from streams.reporting.wiring import fillings, regimes
from streams.settings import Settings
from tests.embedded.kit import PARTITIONS, Rig, rig, running, until
from tests.embedded.reporting import engine
from tests.reporting_side import SIMULATOR, reporting_settings
from tests.unit.cli.running import run, set_environment
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import Story, mapping
from tests.unit.reporting.papers import pages_of

AGENCY = "H12"
PERIOD = "2026-03"
REPORT = f"II.06/{PERIOD}/{AGENCY}"
FORMS = ("II.06a", "II.06b")
STREAMS = {form: f"figures/II.06/{form}/{PERIOD}/{AGENCY}" for form in FORMS}
COLUMNS = tuple(f"c{number}" for number in range(3, 14))
OFFICER = actor_named("Trần Thị Mẫu")
HEAD = actor_named("Lê Văn Thử")
UNITS = {
    "H12.01": "Sở Xây dựng",
    "H12.02": "Ủy ban nhân dân xã Nguyễn Huệ",
    "H12.03": "Ủy ban nhân dân phường Trần Phú",
}


@dataclass(frozen=True)
class Told:
    """A dossier, and in which columns of March it counts: written down here, not reckoned."""

    story: Story
    columns: str = ""
    sector: str = "S1"
    procedure: str = "P1"
    channel: Channel | None = Channel.ONLINE

    @property
    def row(self) -> tuple[str, str, str | None]:
        """Agency, sector and procedure, as the mappings have them."""
        known = {"P1": "1.000001", "P2": "1.000002", "P3": "1.000003"}
        return (self.story.unit, self.sector, known.get(self.procedure))

    def events(self) -> list[DossierEvent]:
        return [
            replace(
                event,
                sector=CodeName(code=self.sector, name=None),
                procedure=Procedure(
                    local_code=self.procedure, national_code=None, name=None, version=None
                ),
                channel=self.channel,
            )
            for event in self.story.events()
        ]


def told(
    name: str,
    steps: Sequence[tuple[str, str]],
    columns: str = "",
    *,
    unit: str = "H12.01",
    due: str | None = "2026-03-20 17:00",
    **more: Any,
) -> Told:
    timed = tuple((status, f"2026-{day} 09:00") for status, day in steps)
    return Told(Story(name, timed, due=due, unit=unit), columns, **more)


MARCH = (
    told("early", [("received", "02-20"), ("finished", "02-24")], "c3 c4 c7 c8"),
    told(
        "on-time",
        [("received", "02-20"), ("finished", "03-10"), ("returned", "03-11")],
        "c3 c5 c7 c9",
        due="2026-03-10 17:00",
        channel=Channel.DIRECT,
    ),
    told(
        "late",
        [("received", "02-02"), ("processing", "02-20"), ("finished", "03-04")],
        "c3 c6 c7 c10",
        due="2026-03-02 17:00",
        procedure="P2",
    ),
    told("running", [("received", "02-16"), ("processing", "02-17")], "c3 c4 c11 c12", sector="S2"),
    told(
        "overdue",
        [("received", "02-10"), ("processing", "02-17")],
        "c3 c6 c11 c13",
        due="2026-03-06 17:00",
        unit="H12.02",
    ),
    told(
        "supplement",
        [("received", "02-16"), ("supplement_requested", "02-18")],
        "c3 c5 c11 c12",
        due="2026-03-06 17:00",
        unit="H12.02",
        channel=Channel.POSTAL,
    ),
    told(
        "paused",
        [("received", "02-16"), ("paused", "02-18")],
        "c3 c4 c11 c12",
        due="2026-03-06 17:00",
        unit="H12.02",
        procedure="P3",
    ),
    told(
        "payment",
        [("received", "02-16"), ("payment_requested", "02-18")],
        "c3 c5 c11 c12",
        due="2026-03-06 17:00",
        unit="H12.02",
        channel=None,
    ),
    told(
        "withdrawn",
        [("received", "02-16"), ("withdrawn", "03-09")],
        "c3 c4 c7 c9",
        due="2026-03-06 17:00",
        unit="H12.03",
    ),
    told(
        "stopped",
        [("received", "02-16"), ("stopped", "03-09")],
        "c3 c4 c7 c10",
        due="2026-03-06 17:00",
        unit="H12.03",
    ),
    told(
        "refused",
        [("received", "02-16"), ("processing", "02-17"), ("refused", "03-02")],
        "c3 c4 c7 c8",
        due="2026-03-06 17:00",
        unit="H12.03",
    ),
    told("unknown", [("received", "03-14")], "c3 c4 c11 c12", unit="H12.03", procedure="P9"),
    told("registered", [("submitted", "02-20")]),
    told("refused-at-once", [("submitted", "02-20"), ("refused", "02-21")]),
    told("of-february", [("received", "01-20"), ("finished", "02-12")]),
)
DELETED = told("deleted", [("received", "02-20")])
LATE = told(
    "came-late",
    [("received", "03-12"), ("finished", "03-13")],
    "c3 c5 c7 c8",
    unit="H12.02",
    channel=Channel.DIRECT,
)
"""Received within the period, but recorded by the hub on the day after the cut-off."""


def deletion(of: Told) -> DossierEvent:
    return identity_only(
        event_id=f"{of.story.name}-gone",
        dossier_id=of.story.name,
        kind=EventKind.DELETION,
        source="opencps",
        feed=Feed.SWEEP,
        cursor="1",
        content_hash="x",
        read_seq=9,
        effective_at=at("2026-02-25 09:00"),
        recorded_at=at("2026-02-25 09:00"),
        sealed=b"sealed",
    )


Rows = dict[tuple[str | None, ...], tuple[int, ...]]


def due_rows(dossiers: Sequence[Told], axes: int) -> Rows:
    """The figures that the dossiers make, by the first axes of their rows."""
    counts: defaultdict[tuple[str | None, ...], dict[str, int]] = defaultdict(
        lambda: dict.fromkeys(COLUMNS, 0)
    )
    for one in dossiers:
        for column in one.columns.split():
            counts[one.row[:axes]][column] += 1
    return {key: tuple(row.values()) for key, row in counts.items()}


def balanced(rows: Rows) -> bool:
    for values in rows.values():
        c = dict(zip(COLUMNS, values, strict=True))
        if (
            c["c3"] != c["c4"] + c["c5"] + c["c6"]
            or c["c3"] != c["c7"] + c["c11"]
            or c["c7"] != c["c8"] + c["c9"] + c["c10"]
            or c["c11"] != c["c12"] + c["c13"]
        ):
            return False
    return True


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({topic.name: PARTITIONS for topic in TOPICS}) as started:
        yield started


@dataclass
class Hub:
    """All parts of the hub that a report meets, and the reporting system's control."""

    r: Rig
    system: PortalControl
    settings: Settings
    lane: Lane
    desk: Desk
    service: Closing
    fence: SingletonFence
    reader: Reader
    clock: list[datetime]
    counted: Mapping[str, Filling]

    def set(self, text: str) -> None:
        self.clock[:] = [at(text)]

    async def tell(self, *events: DossierEvent) -> None:
        """Through the log into the ledger."""
        codec = await self.r.codec()
        before = (await self.r.ledger.event_counts())["events"]
        await self.r.put(DOSSIER_EVENTS, *((e.dossier_id, codec.encode(e)) for e in events))

        async def there() -> bool:
            return (await self.r.ledger.event_counts())["events"] == before + len(events)

        await until(there)

    async def turn(self) -> None:
        while await self.service.turn(self.fence):
            pass

    async def take(self) -> Take:
        found = await self.lane.read(lambda c: report_store.newest(c, REPORT))
        assert found is not None
        return found

    async def content(self, take: Take) -> bytes:
        return await self.lane.read(lambda c: report_store.content_of(c, take.ref))

    async def sign(self) -> Take:
        """The units confirm; one person verifies and another approves what was looked at."""
        take = await self.take()
        for unit in take.units:
            await self.desk.confirm(REPORT, unit, OFFICER)
        await self.desk.verify(REPORT, OFFICER)
        await self.desk.approve(REPORT, take.snapshot_hash, HEAD)
        return await self.take()

    async def truth(self) -> dict[str, list[dict[str, Any]]]:
        """What the reporting system holds: the revisions of each form, in the order in which they took effect."""
        found = await self.system.pages("/_truth/reports", "reports")
        held = {one["report"]: one["revisions"] for one in found}
        return {form: held.pop(name, []) for form, name in STREAMS.items()} | held

    async def arrived(self, revision: int) -> None:
        async def delivered() -> bool:
            for name in STREAMS.values():
                found = await self.r.ledger.report_deliveries(name)
                if (revision, "delivered") not in {(one.revision, one.state) for one in found}:
                    return False
            return True

        await until(delivered, 60)

    def received(self, effect: Mapping[str, Any]) -> Figures:
        """A revision as the reporting system got it."""
        _, content = self.reader.packet(Document("GoiTin", effect["document"]))
        assert isinstance(content, Figures)
        return content

    async def decided(self, state: str, *forms: str) -> None:
        """The reporting system decides, and the hub hears of it."""
        for form in forms:
            await self.system.post(
                "/_control/decisions", {"report": STREAMS[form], "state": state, "reasons": []}
            )
        await self.turn()


def rows_of(figures: Figures) -> Rows:
    found = {row.keys: tuple(int(v) for v in row.values if v is not None) for row in figures.rows}
    assert all(len(values) == len(figures.indicators) for values in found.values())
    return dict(found)


@asynccontextmanager
async def hub(
    broker: EmbeddedBroker, folder: Path, patch: pytest.MonkeyPatch
) -> AsyncIterator[Hub]:
    async with AsyncExitStack() as opened:
        r = await opened.enter_async_context(rig(broker, folder))
        process, ready = await start_simulator(
            *(SIMULATOR, "--db", str(folder / "reporting.db"), "--today", "2026-03-20"),
            log=folder / "reporting.log",
        )
        opened.push_async_callback(end, process)
        set_environment(
            patch,
            LEDGER_URL=r.url,
            REPORTING__AGENCY=AGENCY,
            REPORTING__REGIMES='{"II.06": {"kinds": ["month"]}}',
            GOV_REPORTING__ABILITIES__LOOKUP_LAG_SECONDS="0.2",
            GOV_REPORTING__ABILITIES__LATE_EFFECT_BOUND_SECONDS="1",
            **reporting_settings(ready),
        )
        settings = Settings()  # type: ignore[call-arg] # from the environment
        target = settings.gov_reporting
        assert target is not None
        elements = load_elements(target.elements)
        clock = [at("2026-02-20 08:00")]
        patch.setattr(report_commands, "_now", lambda: clock[0])

        await r.ledger.put_mappings(
            [
                *(mapping(CodeList.STATUS, status.value, status.value) for status in Status),
                *(
                    replace(mapping(CodeList.AGENCY, unit, unit), name=name)
                    for unit, name in UNITS.items()
                ),
                *(mapping(CodeList.PROCEDURE, f"P{n}", f"1.00000{n}") for n in (1, 2, 3)),
            ]
        )
        lane = Lane(r.url, "reports", seconds=None)
        opened.push_async_callback(lane.close)
        version, rows = await lane.read(mapping_rows)
        codes = Codes(rows, version)
        codec = await r.codec()

        async def decode(payload: bytes) -> DossierEvent:
            return await codec.decode_as(payload, DossierEvent)

        counted = fillings(settings.reporting, lane, decode, lambda: codes)
        calendar = read_reference(settings.reference).calendar
        desk = Desk(lane, counted, calendar=calendar, wall=lambda: clock[0])
        mailbox = Mailbox(target, elements)
        await mailbox.open()
        opened.push_async_callback(mailbox.close)
        service = Closing(
            ledger=r.ledger,
            lane=lane,
            fillings=counted,
            regimes=regimes(settings.reporting),
            calendar=calendar,
            desk=desk,
            producer=r.producer,
            seal=r.sealer.seal,
            encode=codec.encode,
            owner="reporting",
            events=r.events,
            wall=lambda: clock[0],
            inbox=Inbox(
                mailbox=mailbox,
                lane=lane,
                answers=desk,
                sealer=r.sealer,
                events=r.events,
                wall=r.now,
                every=0,
            ),
            options=ClosingOptions(draft_every=0),
        )
        fence = await r.ledger.take_singleton("reporting", "reporting")
        assert fence is not None

        flow = await r.to_ledger()
        await opened.enter_async_context(running(flow))
        sink = GovReporting(target, elements, r.sealer, Hasher(b"h" * 32))
        await sink.open()
        opened.push_async_callback(sink.close)
        deliverer = await engine(r, sink, lambda: flow.fences(REPORT_PACKETS))
        task = asyncio.create_task(deliverer.run())

        async def stop() -> None:
            deliverer.stop()
            await task

        opened.push_async_callback(stop)
        http = await opened.enter_async_context(aiohttp.ClientSession())
        yield Hub(
            r=r,
            system=PortalControl(http, ready["control_url"]),
            settings=settings,
            lane=lane,
            desk=desk,
            service=service,
            fence=fence,
            reader=Reader(elements),
            clock=clock,
            counted=counted,
        )


async def command(*arguments: str) -> Result:
    """`thongsuot report …`, as everybody types it."""
    ended = await asyncio.to_thread(run, "report", *arguments)
    assert ended.exit_code == 0, (ended.stderr, ended.exception)
    return ended


@pytest.mark.timeout(180)
async def test_a_month_is_reported_amended_and_answered(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hub(broker, tmp_path, monkeypatch) as h:
        first = await _frozen_signed_and_sent(h)
        await _accepted(h)
        second = await _amended_by_a_late_dossier(h, first)
        await _returned_without_a_reason_then_accepted(h)
        await _shown_to_officials(h, tmp_path, first, second)


async def _frozen_signed_and_sent(h: Hub) -> Take:
    await h.turn()
    await h.tell(*(event for one in (*MARCH, DELETED) for event in one.events()), deletion(DELETED))
    h.set("2026-03-14 23:00")
    await h.turn()
    assert await h.lane.read(lambda c: report_store.newest(c, REPORT)) is None, "not over yet"
    h.set("2026-03-15 00:20")
    await h.turn()
    frozen = await h.take()
    assert (frozen.state, frozen.known_at) == (State.CONFIRMING, at("2026-03-15 00:00"))
    assert sorted(frozen.units) == sorted(UNITS)
    assert frozen.imbalances == ()

    h.set("2026-03-16 09:00")
    approved = await h.sign()
    assert await h.truth() == {form: [] for form in FORMS}, "nothing goes before it is approved"
    await h.turn()
    await h.arrived(1)
    await _holds(h, {1: MARCH}, [approved])
    return await h.take()


async def _holds(h: Hub, revisions: Mapping[int, Sequence[Told]], approved: Sequence[Take]) -> None:
    """The reporting system has exactly these revisions of both forms, in order, with the dossiers' own figures."""
    truth = await h.truth()
    assert set(truth) == set(FORMS), "no other report"
    for form, axes in (("II.06a", 2), ("II.06b", 3)):
        assert [one["revision"] for one in truth[form]] == list(revisions), form
        assert [one["hash"] for one in truth[form]] == [one.snapshot_hash for one in approved]
        for effect, dossiers in zip(truth[form], revisions.values(), strict=True):
            held = rows_of(h.received(effect))
            assert held == due_rows(dossiers, axes), form
            assert balanced(held)
    counts = await h.system.get("/_truth/summary")
    assert (counts["twice"], counts["out_of_order"]) == (0, 0)


async def _accepted(h: Hub) -> None:
    await h.decided("CHAPNHAN", "II.06a")
    assert (await h.take()).state is State.SUBMITTED, "one form of two"
    await h.decided("CHAPNHAN", "II.06b")
    assert (await h.take()).state is State.ACCEPTED


async def _amended_by_a_late_dossier(h: Hub, first: Take) -> Take:
    late = [replace(one, recorded_at=at("2026-03-16 10:00")) for one in LATE.events()]
    await h.tell(*late)
    h.set("2026-03-17 08:00")
    await h.turn()
    frozen = await h.content(first)
    report = await h.lane.read(lambda c: report_store.report_of(c, REPORT))
    assert report is not None
    again = await h.counted["II.06"].counting.count(report, first.known_at, None)
    assert again.snapshot.content() == frozen, "what was known then is known still"

    draft = (await h.lane.read(report_store.drafts))[REPORT]
    (change,) = draft.changes
    assert (change.dossier_id, change.code) == ("came-late", "H12.02-came-late")
    assert (change.was, change.now) == (None, "H12.02/S1/1.000001: c3 c5 c7 c8")
    assert change.why == "arrived_late"
    told = json.loads((await command("diff", PERIOD, "--json")).stdout)
    assert [one["code"] for one in told["changes"]] == ["H12.02-came-late"]
    seen = (await command("diff", PERIOD)).stdout
    assert "H12.02-came-late" in seen
    assert "hồ sơ đến sau khi chốt số liệu" in seen

    assert await h.desk.revise(REPORT, HEAD, "hồ sơ đến muộn") == (2, 1)
    approved = await h.sign()
    await h.turn()
    await h.arrived(2)
    await _holds(h, {1: MARCH, 2: (*MARCH, LATE)}, [first, approved])
    assert "không hồ sơ nào đổi" in (await command("diff", PERIOD)).stdout
    return await h.take()


async def _returned_without_a_reason_then_accepted(h: Hub) -> None:
    await h.decided("TRALAI", "II.06b")
    assert (await h.take()).state is State.RETURNED
    told = json.loads((await command("status", PERIOD, "--json")).stdout)
    assert told["state"] == "returned"
    (returned,) = [one for one in told["answers"] if one["answer"] == "returned"]
    assert (returned["revision"], returned["reason"], returned["needs_person"]) == (2, None, True)
    seen = (await command("status", PERIOD)).stdout
    for words in ("bị trả lại", "không nêu lý do", "cần người hỏi lại"):
        assert words in seen
    await h.decided("CHAPNHAN", *FORMS)
    assert (await h.take()).state is State.ACCEPTED
    takes = await h.lane.read(lambda c: report_store.takes(c, REPORT))
    assert [(one.revision, one.state) for one in takes] == [(2, State.ACCEPTED), (1, State.AMENDED)]


async def _shown_to_officials(h: Hub, folder: Path, first: Take, second: Take) -> None:
    whole = due_rows((*MARCH, LATE), 0)[()]
    shown = (await command("show", PERIOD)).stdout
    assert second.snapshot_hash in shown
    assert "được chấp nhận" in shown
    assert ["cộng", "·", "all", *map(str, whole)] in [line.split() for line in shown.splitlines()]
    behind = json.loads((await command("show", PERIOD, "--dossiers", "c10", "--json")).stdout)
    assert {one["dossier_id"] for one in behind} == {
        one.story.name for one in (*MARCH, LATE) if "c10" in one.columns.split()
    }
    story = (await command("status", PERIOD)).stdout
    for words in ("chốt số liệu", "kiểm tra", "duyệt", "Lê Văn Thử", "bản 1: được thay bằng bản 2"):
        assert words in story

    truth = await h.truth()
    for form in FORMS:
        for revision in (1, 2):
            file = folder / f"{form}-{revision}.json"
            await command(
                *("again", PERIOD, "--form", form, "--revision", str(revision)),
                *("--output", str(file)),
            )
            received = h.received(truth[form][revision - 1])
            assert file.read_bytes() == canonical(received), (form, revision)

    for form, axes in (("II.06a", 2), ("II.06b", 3)):
        for revision, dossiers in ((1, MARCH), (2, (*MARCH, LATE))):
            xlsx, pdf = folder / f"{form}-{revision}.xlsx", folder / f"{form}-{revision}.pdf"
            await command(
                *("document", PERIOD, "--form", form, "--revision", str(revision)),
                *("--xlsx", str(xlsx), "--pdf", str(pdf)),
            )
            _printed(xlsx, pdf, dossiers, axes)


def _printed(xlsx: Path, pdf: Path, dossiers: Sequence[Told], axes: int) -> None:
    """Every row's figures stand in the files side by side, and so does their sum."""
    sheet = openpyxl.load_workbook(xlsx).active
    assert sheet is not None
    lines = [
        tuple(value for value in row if isinstance(value, int))[-len(COLUMNS) :]
        for row in sheet.iter_rows(values_only=True)
    ]
    words = [text for page in pages_of(pdf.read_bytes()) for _, _, text in page]
    for values in (*due_rows(dossiers, axes).values(), *due_rows(dossiers, 0).values()):
        assert values in lines
        figures = [str(value) for value in values]
        assert any(words[n : n + len(figures)] == figures for n in range(len(words)))

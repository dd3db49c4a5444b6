"""The Government reporting system as the target: answers lost, late, doubled, returned; a hub killed at every step.

The harness publishes packets itself, as the reporting service does, and judges by what it published and by the
simulator's truth: nothing missing, nothing doubled, no revision out of order. Dossiers have no part in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from monitoring.crash_points import CrashPoint
from schemas.codec import Codec
from schemas.ledger.sql import SqlLedger
from schemas.records import ReportPacket
from schemas.registry import LocalRegistry
from schemas.sealing import Sealer, parse_key
from schemas.topics import REPORT_PACKETS
from streams.demo.hub_view import HubView
from streams.demo.processes import PortalControl
from streams.kafka_clients import aiokafka_connection
from streams.producer import Outgoing, Producer
from streams.settings import KafkaSettings
from tests.reporting_side import (
    PROFILE,
    SIMULATOR,
    Publisher,
    ReportVerdict,
    judge,
    reporting_settings,
)
from tests.torture import postgres_copies as copies
from tests.torture import settings as common
from tests.torture.installation import Guard, Installation
from tests.torture.restore_grid import kill_all, lines
from tests.torture.scenario import Result, Scenario, of_the_hub, unguarded

ROW = "reports"
MONTHS = range(1, 13)
WORKERS = 2
LATENCY_MS = 120.0
_L = common.LATE_EFFECT_BOUND_SECONDS
_TIMEOUT = common.CALL_TIMEOUT_SECONDS
_REST_SECONDS = 150.0
_QUIET_SECONDS = 14.0  # longer than every wait of the hub's
_PRODUCE_SECONDS = 20.0

_OPEN = (
    "select count(*) from deliveries where target = 'gov_reporting'"
    " and state in ('pending', 'sending', 'waiting')"
)
_UNDER_WAY = (
    "select count(*) from dossier_target where target = 'gov_reporting'"
    " and (runnable or wake_at is not null)"
)
_TAKEN = "select count(*) from events where source = 'reporting'"
_PARKED = (
    "select distinct dossier_id from deliveries where target = 'gov_reporting' and state = 'parked'"
)

SETTINGS: Mapping[str, str] = {
    "GOV_REPORTING__CONNECT_TIMEOUT_SECONDS": "0.5",
    "GOV_REPORTING__READ_TIMEOUT_SECONDS": str(_TIMEOUT),
    "GOV_REPORTING__TOTAL_TIMEOUT_SECONDS": str(_TIMEOUT),
    "GOV_REPORTING__ABILITIES__LOOKUP_LAG_SECONDS": str(common.LOOKUP_LAG_SECONDS),
    "GOV_REPORTING__ABILITIES__LATE_EFFECT_BOUND_SECONDS": str(_L),
}


@dataclass
class Reports:
    """The reporting side of an installation. `hub.prepared` is one."""

    hub: Installation
    control: PortalControl
    publisher: Publisher
    producer: Producer
    codec: Codec
    planned: int = 0

    async def publish(self, *packets: ReportPacket) -> None:
        """Produce these, and return when the broker has them."""
        await self.producer.produce(
            [
                Outgoing(REPORT_PACKETS.name, one.report_id.encode(), self.codec.encode(one))
                for one in packets
            ]
        )

    async def truth(self) -> list[dict[str, Any]]:
        """Every report that the system holds, with its revisions in order of arrival."""
        return await self.control.pages("/_truth/reports", "reports")

    async def calls(self) -> list[dict[str, Any]]:
        return await self.control.pages("/_truth/calls", "calls")

    async def verdict(self, refused: frozenset[str] = frozenset()) -> ReportVerdict:
        return judge(self.publisher.published, await self.truth(), refused)

    async def progress(self) -> float:
        """The share of the reports that will be published whose newest revision arrived; about."""
        held = {one["report"]: one["revision"] for one in await self.truth()}
        return min(1.0, sum(held.values()) / max(self.planned, 1))

    async def parked(self) -> frozenset[str]:
        rows = await asyncio.to_thread(self.hub.view.rows, _PARKED)
        return frozenset(name for (name,) in rows)

    async def rest(self) -> None:
        """Until everything published is taken in and nothing is open but what is parked."""
        hub = self.hub
        loop = asyncio.get_running_loop()
        finish, since, before = loop.time() + _REST_SECONDS, loop.time(), None
        for worker in hub.workers.values():
            if worker.running and not worker.frozen:
                await worker.ready(hub.http)
        while loop.time() < finish:
            await asyncio.sleep(0.5)
            found = await self._counts(hub.view)
            now = (found, await self.control.get("/_truth/summary"))
            moving = found is None or any(found[:2]) or now != before
            before = now
            if moving:
                since = loop.time()
            elif loop.time() - since > _QUIET_SECONDS or (
                loop.time() - since > 2.0 and (await self.verdict(await self.parked())).clean
            ):
                return
        hub.findings.append(f"no rest within {_REST_SECONDS:.0f} s")

    async def _counts(self, view: HubView) -> tuple[int, ...] | None:
        try:
            return tuple(
                [
                    int((await asyncio.to_thread(view.rows, query))[0][0])
                    for query in (_OPEN, _UNDER_WAY, _TAKEN)
                ]
            )
        except SQLAlchemyError:  # the ledger is away
            return None


async def prepare(hub: Installation) -> None:
    """The simulator, the packets' keys, and workers that only deliver."""
    ready = await hub.simulator(SIMULATOR, "reporting")
    control = PortalControl(hub.http, ready["control_url"])
    await control.post("/_control/profile", {**PROFILE, "latency_ms": LATENCY_MS})
    hub.settings |= {**reporting_settings(ready), **SETTINGS}
    for worker in hub.workers.values():
        worker.parts = ("deliver",)
    master = parse_key(hub.settings["MASTER_KEY"])
    async with SqlLedger(hub.ledger_url) as ledger:
        sealer = await Sealer.load(ledger, master, datetime.now(UTC))
    codec = Codec(LocalRegistry())
    await codec.prepare()
    kafka = KafkaSettings(
        bootstrap_servers=hub.settings["KAFKA__BOOTSTRAP_SERVERS"], partitions=common.PARTITIONS
    )
    producer = Producer(aiokafka_connection(kafka), timeout=_PRODUCE_SECONDS)
    await producer.start()
    hub.close_at_end(partial(producer.stop, 5.0))
    reports = Reports(hub, control, Publisher(sealer), producer, codec)
    hub.prepared, hub.measure = reports, reports.progress


def side(hub: Installation) -> Reports:
    """What `prepare` left."""
    assert isinstance(hub.prepared, Reports)
    return hub.prepared


Play = Callable[[Installation, Reports], Awaitable[None]]


def scenario(name: str, about: str, play: Play, **more: Any) -> Scenario:
    """A row that is judged by the reporting system's truth."""

    async def run(hub: Installation) -> Sequence[Result]:
        reports = side(hub)
        await play(hub, reports)
        await reports.rest()
        return [await result(row, hub, reports)]

    row = Scenario(
        name=f"reports_{name}",
        row=ROW,
        about=about,
        run=run,
        prepare=prepare,
        profile="state",
        workers=WORKERS,
        load=None,
        full=False,
        **more,
    )
    return row


async def result(
    row: Scenario, hub: Installation, reports: Reports, refused: frozenset[str] = frozenset()
) -> Result:
    """The verdict in the columns of the torture; `refused`: reports that must lie with a person."""
    parked = await reports.parked()
    verdict = await reports.verdict(refused & parked)
    findings = [*verdict.findings, *await of_the_hub(hub), *unguarded(row, hub.faults)]
    if parked != refused:
        findings.append(f"parked: {sorted(parked)}, expected: {sorted(refused)}")
    summary = await reports.control.get("/_truth/summary")
    if summary["twice"] or summary["out_of_order"]:
        findings.append(f"the system itself counts {summary['twice']} twice, out of order too")
    published = sum(len(one) for one in reports.publisher.published.values())
    return Result(
        scenario=row.name,
        profile=row.profile,
        events=published,
        faults_injected=len(hub.faults),
        missing=verdict.missing,
        duplicate_effects=verdict.duplicate_effects,
        order_violations=verdict.order_violations,
        stale=verdict.stale,
        duplicate_calls=summary["duplicate_calls"],
        parked=len(parked),
        parked_expected=len(refused),
        findings=tuple(findings),
    )


async def waves(reports: Reports, number: int) -> None:
    """So many revisions of every report, one after the other, as quickly as the broker takes them."""
    for _ in range(number):
        await reports.publish(*(reports.publisher.revise(month) for month in MONTHS))


# --- a hub that dies -----------------------------------------------------------------------------------


async def _killed(hub: Installation, reports: Reports) -> None:
    """Every worker in turn, in the midst of a call, while the next revisions come."""
    reports.planned = len(MONTHS) * (1 + len(hub.workers))
    await waves(reports, 1)
    await hub.until_progress(common.LEAST_PROGRESS)
    for name in hub.workers:
        await waves(reports, 1)
        await hub.kill(name, measured=False)
        await hub.start(name)
    await hub.ready(*hub.workers)


async def _frozen(hub: Installation, reports: Reports) -> None:
    """A worker is frozen in the midst of its calls, loses its partitions, and wakes with old answers."""
    reports.planned = len(MONTHS) * 3
    await waves(reports, 1)
    await hub.until_progress(common.LEAST_PROGRESS)
    await waves(reports, 1)
    await hub.freeze("w1", measured=False)
    await asyncio.sleep(common.FREEZE_SECONDS)
    await waves(reports, 1)
    hub.wake("w1")


def _crash(point: CrashPoint) -> Scenario:
    """A worker dies there at its first passage, then another one at a later one."""

    async def play(hub: Installation, reports: Reports) -> None:
        reports.planned = len(MONTHS) * 6
        await waves(reports, 2)
        await hub.until_progress(common.LEAST_PROGRESS)
        for turn, name in enumerate(hub.workers):
            before = len(hub.deaths)
            await hub.stop(name, fault=False)
            await hub.start(name, crash=f"{point}:{turn + 1}")
            await hub.started(name)

            async def dead(since: int = before) -> bool:
                await waves(reports, 1)
                return any(one.crash for one in hub.deaths[since:])

            await hub.until(dead, bool, f"a death at {point}:{turn + 1}", 60.0)

    return scenario(
        f"crash_{point}",
        f"a worker dies {point.replace('_', ' ')} of a report",
        play,
        least_faults=WORKERS,
        least_crashes=WORKERS,
        least_hits=WORKERS if point in _IN_A_CALL else 0,
    )


_IN_A_CALL = frozenset({CrashPoint.AFTER_INTENT, CrashPoint.AFTER_WRITE, CrashPoint.AFTER_ANSWER})
_STEPS = (
    CrashPoint.BEFORE_ENLIST,
    CrashPoint.AFTER_ENLIST,
    CrashPoint.AFTER_INTENT,
    CrashPoint.AFTER_WRITE,
    CrashPoint.AFTER_ANSWER,
    CrashPoint.AFTER_SETTLE,
    CrashPoint.AFTER_RECEIPT_PRODUCE,
)
"""The steps of a submission that are the core's; the first, produce, is `reports_produced_again`."""


async def _produced_again(hub: Installation, reports: Reports) -> None:
    """Every packet comes twice, and old ones once more behind newer: an outbox that died before its mark."""
    reports.planned = len(MONTHS) * 3
    await waves(reports, 1)
    await hub.until_progress(common.LEAST_PROGRESS)
    for _ in range(2):
        packets = [reports.publisher.revise(month) for month in MONTHS]
        await hub.note("produced again", hit=len(packets))
        await reports.publish(*packets, *packets)
        for held in reports.publisher.published.values():
            await reports.publish(*held)


# --- a target that is away or answers badly --------------------------------------------------------------


async def _away(hub: Installation, reports: Reports) -> None:
    """The system takes no connections while three revisions of each report come; only the newest is due."""
    reports.planned = len(MONTHS) * 5
    await waves(reports, 2)
    await hub.until_progress(common.LEAST_PROGRESS)
    await waves(reports, 1)
    await hub.note("refuse")
    await reports.control.post(
        "/_control/faults", {"trouble": "refuse", "seconds": common.OUTAGE_SECONDS}
    )
    await waves(reports, 2)


FORMS = {"create": "II.06a", "update": "II.06b"}
"""Of the report that is struck by this operation; its month is the trouble's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Troubles of one kind, each at the creation of one report and at the update of another.

    `refused`: the report lies with a person until a newer revision replaces it; that comes for all but the
    last trouble's.
    """

    name: str
    about: str
    rules: tuple[Mapping[str, Any], ...]
    refused: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


FAMILIES = (
    Family(
        name="lost",
        about="answers are lost, before and after the effect",
        rules=(
            *(
                {"trouble": t, "stage": s}
                for t in ("drop", "no_answer")
                for s in ("before", "after")
            ),
            *({"trouble": "reset", "stage": s} for s in ("before", "after")),
            {"trouble": "truncated", "stage": "after"},
            {"trouble": "html_502", "stage": "before"},
            {"trouble": "html_502", "stage": "after"},
            {"trouble": "fault_500", "stage": "after"},
            {"trouble": "overloaded", "stage": "after"},
            {"trouble": "html_200", "stage": "after"},
        ),
    ),
    Family(
        name="late",
        about="answers and effects come late, some of them beyond the bound",
        rules=(
            {"trouble": "late_answer", "stage": "after", "delay": _TIMEOUT * 2},
            {"trouble": "late_answer", "stage": "before", "delay": _TIMEOUT * 2},
            {"trouble": "slow_drip", "delay": _TIMEOUT * 3},
            {"trouble": "late_effect", "delay": _L / 2},
            {"trouble": "late_effect", "delay": _L * 2},
        ),
    ),
    Family(
        name="doubled",
        about="answers of other calls, and answers that come twice",
        rules=(
            {"trouble": "duplicate_answer", "stage": "after"},
            {"trouble": "duplicate_answer", "stage": "before"},
            {"trouble": "foreign_answer", "foreign": "id"},
            {"trouble": "foreign_answer", "foreign": "report"},
            # To anything but a creation it is a refusal like any other.
            {"trouble": "already_exists", "stage": "before", "operation": "create"},
            {"trouble": "already_exists", "stage": "after", "operation": "create"},
        ),
    ),
    Family(
        name="throttled",
        about="the token ends, the rate is limited, the system is announced to be away",
        rules=(
            {"trouble": "expired_token"},
            {"trouble": "rate_limited"},
            {"trouble": "unavailable"},
        ),
    ),
    Family(
        name="returned",
        about="revisions are returned; a newer one replaces them, and the last lies with a person",
        rules=(
            {"trouble": "business_error", "stage": "before"},
            {"trouble": "business_error", "stage": "before"},
        ),
        refused=True,
    ),
)


def _answers(family: Family) -> Scenario:
    async def run(hub: Installation) -> Sequence[Result]:
        return [await _answered(row, hub, side(hub), family)]

    row = replace(
        scenario(
            family.name,
            family.about,
            _nothing,
            least_faults=2 * len(family.rules) - sum("operation" in r for r in family.rules),
        ),
        run=run,
        least_progress=0.0,
    )
    return row


async def _nothing(hub: Installation, reports: Reports) -> None:
    """Played by `_answered`."""


async def _answered(row: Scenario, hub: Installation, reports: Reports, family: Family) -> Result:
    """One report is struck when it is created, another one when it is revised."""
    cells = [
        (rule, operation, reports.publisher.revise(month, FORMS[operation]))
        for month, rule in enumerate(family.rules, start=1)
        for operation in FORMS
        if rule.get("operation", operation) == operation
    ]
    reports.planned = 2 * len(cells)
    for rule, operation, packet in cells:
        await hub.note(f"{rule['trouble']}/{operation}", hit=1)
        await reports.control.post(
            "/_control/faults",
            {**rule, "operation": operation, "report": packet.report_id, "label": operation},
        )
    await reports.publish(*(packet for _, _, packet in cells))
    await reports.rest()
    refused: set[str] = set()
    again = []
    for _, operation, packet in cells:
        last = packet.report_id in {one.report_id for _, _, one in cells[-2:]}
        if family.refused and last and operation == "create":
            refused.add(packet.report_id)  # nothing newer comes
            continue
        if family.refused and last:
            refused.add(packet.report_id)
        again.append(replace_month(reports, packet))
    await reports.publish(*again)
    await reports.rest()
    if family.refused:
        # Those struck at their update, but for the last, are replaced as well.
        third = [
            replace_month(reports, packet)
            for _, operation, packet in cells[:-2]
            if operation == "update"
        ]
        await reports.publish(*third)
        await reports.rest()
    struck = {(one["report"], one["label"]) for one in await reports.calls() if one["trouble"]}
    unmet = [packet.report_id for _, op, packet in cells if (packet.report_id, op) not in struck]
    found = await result(row, hub, reports, frozenset(refused))
    if unmet:
        guard = f"guard: the trouble of {', '.join(unmet)} never struck"
        found = replace(found, findings=(*found.findings, guard))
    return found


def replace_month(reports: Reports, packet: ReportPacket) -> ReportPacket:
    """The next revision of the same report."""
    return reports.publisher.revise(int(packet.period[-2:]), packet.form)


# --- a ledger that is not what it was ----------------------------------------------------------------------


async def _restored(hub: Installation, reports: Reports) -> None:
    """A copy of the ledger is put in its place; what was submitted since is found out before anything is sent."""
    postgres, taken = hub.standing.postgres(), hub.folder / "ledger.dump"
    kept = f"{hub.database}_lost"
    reports.planned = len(MONTHS) * 3
    await waves(reports, 1)
    await hub.until_progress(common.LEAST_PROGRESS)
    await asyncio.to_thread(copies.dump, postgres, hub.database, taken)
    hub.at_end(lambda: copies.drop(postgres, kept))
    await waves(reports, 1)
    await hub.until(reports.progress, lambda share: share >= 0.6, "60 % progress", 60.0)
    await hub.until_in_call("w1", 2.0)
    await kill_all(hub)
    await waves(reports, 1)
    await asyncio.to_thread(copies.restore, postgres, hub.database, taken, kept)
    await hub.start(*hub.workers)
    await hub.ready(*hub.workers)
    if not lines(hub, "restore_began"):
        raise Guard("no worker took note that the ledger is an older one")
    await hub.until(partial(_looked_at, hub), bool, "a report looked at before it was sent", 60.0)


async def _looked_at(hub: Installation) -> int:
    restored = lines(hub, "partition_restored", topic=REPORT_PACKETS.name)
    return sum(int(str(one["proved"])) + int(str(one["dossiers"])) for one in restored)


SCENARIOS: tuple[Scenario, ...] = (
    scenario(
        "killed",
        "each worker is killed in the midst of submitting, while revisions come",
        _killed,
        least_faults=WORKERS,
        least_hits=WORKERS,
    ),
    scenario("frozen", "a worker is frozen in its calls and wakes when others own them", _frozen),
    scenario(
        "produced_again",
        "every packet comes twice, and old revisions behind newer ones",
        _produced_again,
        least_faults=2,
        least_hits=2,
    ),
    *(_crash(point) for point in _STEPS),
    scenario("away", "the system is away while revisions come", _away, least_hits=0),
    *(_answers(family) for family in FAMILIES),
    scenario(
        "restored",
        "a copy of the ledger is put back behind what was submitted",
        _restored,
        least_hits=0,
    ),
)

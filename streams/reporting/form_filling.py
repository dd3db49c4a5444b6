"""Form II.06 in the life of a report: counted from dossiers, checked, and packed as II.06a and II.06b.

A snapshot has the leaf rows: agency, sector and procedure. Both forms are folded from them, and so is what each unit
confirms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from schemas.dossier.mappings import Codes
from schemas.ledger import report_spans
from schemas.ledger.database import Lane
from schemas.ledger.dialect import clock, to_moment
from schemas.ledger.report_outbox import Packed
from schemas.ledger.report_store import Frozen, Report
from schemas.reports import packets
from schemas.reports.form import VERSION, Column, Figures, FormTable, RowKey, Treatment
from schemas.reports.kinds import PacketKind
from schemas.reports.packets import FigureRow
from schemas.reports.snapshots import CarryOver, Change, Imbalance, Row, Snapshot, Value, total
from streams.reporting import form_checks, form_counts, form_differences, tracking
from streams.reporting.counting import Behind, Earlier, Filling, Member
from streams.reporting.form_differences import Side
from streams.reporting.tracking import Decode, Rules

REGIME = "II.06"
FORM_A = "II.06a"
FORM_B = "II.06b"
FORM_VERSION = "TT01/2020"
"""Circular 01/2020/TT-VPCP."""

UNIT = "hồ sơ"
COLUMNS = tuple(column.value for column in Column)

_AXES: Mapping[str, tuple[str, ...]] = {
    FORM_A: ("agency", "sector"),
    FORM_B: ("agency", "sector", "procedure"),
}
_TREATMENT = "treatment."


def filling_of(
    lane: Lane, decode: Decode, codes: Callable[[], Codes], treatment: Treatment
) -> Filling:
    """Counting and packing of form II.06, for `wiring.fillings`."""
    whole = FormFilling(lane, decode, codes, treatment)
    return Filling(counting=whole, packing=whole)


class FormFilling:
    """See `counting.Counting` and `counting.Packing`. `codes` yields the mappings in force now."""

    def __init__(
        self, lane: Lane, decode: Decode, codes: Callable[[], Codes], treatment: Treatment
    ) -> None:
        self._lane = lane
        self._decode = decode
        self._codes = codes
        self._treatment = treatment

    # --- counting

    async def refresh(self) -> bool:
        """Follow some of the log. Raises as `tracking.refresh`."""
        return await tracking.refresh(self._lane, self._decode, self._rules()) == tracking.AT_ONCE

    async def behind(self) -> int:
        """How many dossiers are not followed up to now."""
        return await tracking.behind(self._lane, self._rules())

    async def needs(self) -> Sequence[str]:
        """Nothing but dossiers."""
        return ()

    async def count(self, report: Report, known_at: datetime, earlier: Earlier | None) -> Frozen:
        """The moment is sealed first. Raises `LedgerUnavailable`, and `TooEarly` for a window to come."""
        moment = min(known_at, await self._now())
        await tracking.seal(self._lane, moment)
        rules = self._written_rules()
        return await self._lane.read(
            lambda c: self._frozen(c, report, moment, earlier, rules), unhurried=True
        )

    async def preview(self, report: Report, known_at: datetime) -> Frozen:
        """Nothing is sealed. Raises as `count`."""
        moment = min(known_at, await self._now())
        rules = self._written_rules()
        return await self._lane.read(
            lambda c: self._frozen(c, report, moment, None, rules), unhurried=True
        )

    async def changes(
        self, report: Report, was: Snapshot, now_known_at: datetime
    ) -> Sequence[Change]:
        """By the treatment that the snapshot was counted by: what changed since is the dossiers'."""
        treatment = treatment_of(was.rules)
        since = max(was.known_at, now_known_at)
        found = await self._lane.read(
            lambda c: form_differences.differences(
                c, report.window, was.known_at, since, treatment
            ),
            unhurried=True,
        )
        return [
            Change(
                dossier_id=one.dossier_id,
                code=one.code,
                was=_where(one.was),
                now=_where(one.now),
                why=one.why.value,
            )
            for one in found
        ]

    async def members(
        self, snapshot: Snapshot, behind: Behind, after: str | None, limit: int
    ) -> Sequence[Member]:
        """As they were known when the snapshot was frozen. Raises `ValueError` for a column that there is not."""
        column = Column(behind.column)
        treatment = treatment_of(snapshot.rules)
        found = await self._lane.read(
            lambda c: form_counts.members(
                c,
                snapshot.window,
                snapshot.known_at,
                treatment,
                columns=(column,),
                agencies=None if behind.agency is None else (behind.agency,),
                sector=behind.sector,
                procedure=behind.procedure,
                after=after or "",
                limit=limit,
            ),
            unhurried=True,
        )
        return [Member(dossier_id=one.dossier_id, code=one.code) for one in found]

    async def _now(self) -> datetime:
        return await self._lane.read(lambda c: to_moment(clock(c)))

    def _rules(self) -> Rules:
        return Rules(codes=self._codes())

    def _written_rules(self) -> dict[str, str]:
        settings = {
            f"{_TREATMENT}{name}": value.value for name, value in self._treatment.settings().items()
        }
        return {"form": f"{REGIME} {VERSION}", "lives": self._rules().name, **settings}

    def _frozen(
        self,
        connection: Connection,
        report: Report,
        known_at: datetime,
        earlier: Earlier | None,
        rules: Mapping[str, str],
    ) -> Frozen:
        table = form_counts.count(connection, report.window, known_at, self._treatment)
        faults = form_checks.identity_faults(connection, table, self._treatment)
        troubles = report_spans.troubles(connection)
        return Frozen(
            snapshot=_snapshot(report, table, rules),
            provisional={why.value: number for why, number in troubles.items() if number},
            imbalances=tuple(
                Imbalance(
                    identity=one.identity,
                    agency=one.row.agency or None,
                    sector=one.row.sector or None,
                    procedure=one.row.procedure or None,
                    left=one.left,
                    right=one.right,
                    dossiers=tuple(member.code or member.dossier_id for member in one.dossiers),
                )
                for one in faults
            ),
            carry_over=_carried(connection, report, known_at, earlier),
        )

    # --- packing

    def packets(
        self, report: Report, revision: int, snapshot: Snapshot, snapshot_hash: str
    ) -> Sequence[Packed]:
        """II.06a and II.06b, folded from the leaf rows."""
        return [
            Packed(
                kind=PacketKind.FIGURES,
                form=form,
                form_version=FORM_VERSION,
                content=packets.canonical(
                    packets.Figures(
                        axes=axes,
                        indicators=snapshot.columns,
                        unit=UNIT,
                        rows=tuple(
                            FigureRow(keys=keys, values=tuple(map(_count, values)))
                            for keys, values in _folded(snapshot, len(axes)).items()
                        ),
                    )
                ),
            )
            for form, axes in _AXES.items()
        ]


def treatment_of(rules: Mapping[str, str]) -> Treatment:
    """The treatment that a snapshot was counted by. Raises `ValueError`."""
    return Treatment.of(
        {
            name.removeprefix(_TREATMENT): value
            for name, value in rules.items()
            if name.startswith(_TREATMENT)
        }
    )


def _snapshot(report: Report, table: FormTable, rules: Mapping[str, str]) -> Snapshot:
    return Snapshot(
        regime=report.regime,
        period=report.period,
        agency=report.agency,
        form_version=FORM_VERSION,
        window=report.window,
        known_at=table.known_at,
        rules=rules,
        columns=COLUMNS,
        rows=tuple(
            Row(
                key.agency or None,
                key.sector or None,
                key.procedure or None,
                tuple(figures.of(column) for column in Column),
            )
            for key, figures in table.rows.items()
        ),
    )


def _table(snapshot: Snapshot) -> FormTable:
    """The reverse of `_snapshot`."""
    rows: dict[RowKey, Figures] = {}
    for row in snapshot.rows:
        counted = {
            name: value
            for name, value in zip(snapshot.columns, row.values, strict=True)
            if isinstance(value, int)
        }
        rows[RowKey(row.agency or "", row.sector or "", row.procedure or "")] = Figures(**counted)
    return FormTable(
        window=snapshot.window,
        known_at=snapshot.known_at,
        rules=treatment_of(snapshot.rules).name,
        rows=rows,
    )


def _carried(
    connection: Connection, report: Report, known_at: datetime, earlier: Earlier | None
) -> CarryOver | None:
    """None where nothing is carried over: the windows do not follow each other."""
    if (
        earlier is None
        or report.window.first != earlier.report.window.last + timedelta(days=1)
        or known_at < earlier.snapshot.known_at
    ):
        return None
    frozen = _table(earlier.snapshot)
    found = form_checks.carried_over(
        connection,
        earlier.report.window,
        report.window,
        known_at,
        frozen,
        earlier.snapshot.known_at,
        treatment_of(earlier.snapshot.rules),
    )
    behind: dict[str, str | None] = {one.dossier_id: one.code for one in found.changed}
    behind |= {one.dossier_id: one.code for one in (*found.odd, *found.reopened)}
    return CarryOver(
        earlier=earlier.report.period,
        left_open=sum(found.frozen.values()),
        taken_over=sum(found.taken.values()),
        explained=found.holds and found.is_explained,
        dossiers=tuple(code or dossier_id for dossier_id, code in sorted(behind.items())),
    )


def _folded(snapshot: Snapshot, axes: int) -> dict[tuple[str | None, ...], tuple[Value, ...]]:
    """The rows added up by the first axes, in the order of their codes; those not known come first."""
    found: dict[tuple[str | None, ...], list[Row]] = {}
    for row in snapshot.rows:
        found.setdefault((row.agency, row.sector, row.procedure)[:axes], []).append(row)
    keys = sorted(found, key=lambda key: tuple(code or "" for code in key))
    return {key: total(found[key], len(snapshot.columns)) for key in keys}


def _count(value: Value) -> int | None:
    return value if isinstance(value, int) else None


def _where(side: Side | None) -> str | None:
    """Where a dossier counts; None: nowhere."""
    if side is None or not side.columns:
        return None
    row = "/".join(code or "–" for code in (side.row.agency, side.row.sector, side.row.procedure))
    columns = " ".join(column.value for column in Column if column in side.columns)
    return f"{row}: {columns}"

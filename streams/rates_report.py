"""`thongsuot rates`: the figures of a period, by unit; how one came about; the dossiers behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import typer
from sqlalchemy import Connection

from monitoring.rates import filled
from monitoring.rates.catalogue import Rate, UnknownRate, Words, near, packaged
from monitoring.rates.dossier_counts import (
    Counting,
    NotCounted,
    Scope,
    dossiers_of,
    has_dossiers,
)
from monitoring.rates.explain import Explained
from monitoring.rates.explain import rate as in_words
from monitoring.rates.periods import WRITE_PERIOD, Period, PeriodKind, parse_period
from monitoring.rates.report import (
    LARGER,
    RECEIVED,
    STEPS_IN_TIME,
    NotBegun,
    Report,
    gathered,
    span,
)
from monitoring.rates.step_counts import HANDLED, Steps, late_dossiers
from monitoring.rates.units import Asked, UnknownAgency, scope_of
from schemas.dossier.agencies import Agencies
from schemas.dossier.csv_table import TableError
from schemas.dossier.working_calendar import civil_day
from schemas.ledger.database import Lane
from schemas.ledger.migrate import require_current
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable
from schemas.ledger.retention import first_of, month_before
from schemas.ledger.tables import figures
from streams import rates_shown
from streams.commands import fail, refused, remedy, say_json, settings, warn
from streams.reference import agencies_of
from streams.settings import Settings

T = TypeVar("T")

SIDES = ("numerator", "denominator", "missing")
"""Whose dossiers can be listed: those that count, those that they are divided by, those that could count and do not."""


@dataclass(frozen=True, slots=True)
class _Ledger:
    """What a report needs beside what is asked."""

    url: str
    directory: Agencies | None
    province: str
    steps: Steps

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds in one snapshot; or the end, and why."""
        try:
            return asyncio.run(self._read(work))
        except (LedgerMismatch, LedgerUnavailable) as error:
            raise fail(remedy(error)) from None
        except NotBegun as error:
            raise refused(
                Words(vi="--period: kỳ chưa bắt đầu; chọn kỳ sớm hơn", en=f"--period: {error}")
            ) from None
        except UnknownAgency as error:
            like = ", ".join(error.near)
            raise refused(
                Words(
                    vi=f"--agency: không có cơ quan {error.code}"
                    + (f"; gần giống: {like}" if like else ""),
                    en=f"--agency: no agency {error.code}" + (f"; near: {like}" if like else ""),
                )
            ) from None

    async def _read(self, work: Callable[[Connection], T]) -> T:
        await asyncio.to_thread(require_current, self.url)
        lane = Lane(self.url, "rates", seconds=None)
        try:
            return await lane.read(work)
        finally:
            await lane.close()


def rates_of_a_period(
    context: typer.Context,
    period: Annotated[
        str | None,
        typer.Option(
            help="Kỳ: 2026-08, 2026-Q3, 2026-H2, 2026; mặc định tháng này · the period, by default this month"
        ),
    ] = None,
    agency: Annotated[
        str | None,
        typer.Option(
            help="Mã cơ quan, gồm đơn vị bên dưới; mặc định cả tỉnh · an agency with all beneath it, by default the province"
        ),
    ] = None,
    procedure: Annotated[
        str | None, typer.Option(help="Mã TTHC quốc gia · the national code of a procedure")
    ] = None,
    sector: Annotated[str | None, typer.Option(help="Mã lĩnh vực · the code of a sector")] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(help="Chỉ tỷ lệ này, lặp lại được · only this rate, may be repeated"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Dạng JSON · as JSON")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Dạng CSV · as CSV")] = False,
    dossiers: Annotated[
        str | None,
        typer.Option(
            metavar="RATE[:SIDE]",
            help="Các hồ sơ đằng sau: numerator, denominator (mặc định), missing · the dossiers behind a rate",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="Nhiều nhất bao nhiêu hồ sơ · at most")
    ] = 1000,
    after: Annotated[
        str | None,
        typer.Option(help="Tiếp sau hồ sơ có dossier_id này · go on behind this dossier_id"),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="Công thức với số đã điền, của một tỷ lệ hoặc nhóm · a formula with its numbers",
        ),
    ] = None,
) -> None:
    """Tỷ lệ theo QĐ 766 của một kỳ, theo đơn vị · the rates of Decision 766 of a period, by unit."""
    if context.invoked_subcommand is not None:
        return
    if as_json and as_csv:
        raise refused(Words(vi="chọn --json hoặc --csv", en="choose --json or --csv"))
    if dossiers is not None and explain is not None:
        raise refused(
            Words(vi="chọn --dossiers hoặc --explain", en="choose --dossiers or --explain")
        )
    wanted = [_known_rate(code).code for code in rate or ()]
    now = datetime.now(UTC)
    asked = Asked(
        period=_period(period, now),
        province="",
        agency=agency,
        procedure=procedure,
        sector=sector,
        rates=wanted or None,
    )
    if dossiers is not None:
        _list_dossiers(asked, now, dossiers, limit, after, as_json=as_json, as_csv=as_csv)
    elif explain is not None:
        _explain(asked, now, explain, as_json=as_json)
    else:
        _report(asked, now, as_json=as_json, as_csv=as_csv)


def unknown_rate(code: str, near_ones: Sequence[str]) -> typer.Exit:
    """Say that there is no such rate, and end with status 2."""
    like = ", ".join(near_ones)
    return refused(
        Words(
            vi=f"không có tỷ lệ {code}" + (f"; gần giống: {like}" if like else ""),
            en=f"no rate {code}"
            + (f"; near: {like}" if like else "")
            + "; see: thongsuot rates list",
        )
    )


def _known_rate(code: str) -> Rate:
    try:
        return packaged().versions(code)[-1]
    except UnknownRate as error:
        raise unknown_rate(code, error.near) from None


def _period(text: str | None, now: datetime) -> Period:
    """The period that is written, else the month of today in Viet Nam."""
    if text is None:
        today = civil_day(now)
        return Period(PeriodKind.MONTH, today.year, today.month)
    period = parse_period(text)
    if period is None:
        vi, en = WRITE_PERIOD
        raise refused(Words(vi=f"--period: {vi}", en=f"--period: {en}"))
    return period


def _ledger(now: datetime) -> _Ledger:
    ours = settings()
    directory = _directory(ours)
    months = month_before(now, ours.retention.evidence_months)
    return _Ledger(
        url=ours.ledger_url.get_secret_value(),
        directory=directory,
        province=ours.national_portal.agency_code if directory is None else directory.root,
        steps=Steps(
            now=now,
            limit=timedelta(minutes=ours.monitoring.sync_limit_minutes),
            since=first_of(months),
        ),
    )


def _directory(ours: Settings) -> Agencies | None:
    try:
        return agencies_of(ours.reference)
    except TableError as error:
        raise refused(*(Words(vi=f"{error.where}, {vi}", en=en) for vi, en in error.told)) from None


# --- the table ---------------------------------------------------------------------------------------


def _made(asked: Asked, now: datetime, *, steps: bool) -> Report:
    """The report; what it does not cover is said."""
    ledger = _ledger(now)
    asked = replace(asked, province=ledger.province)

    def work(connection: Connection) -> tuple[Callable[[], Report], bool]:
        make = gathered(
            connection,
            asked,
            now,
            directory=ledger.directory,
            steps=ledger.steps if steps else None,
        )
        part = Scope(procedure=asked.procedure, sector=asked.sector)
        return make, part == Scope() or has_dossiers(connection, part)

    make, there = ledger.read(work)
    if not there:
        warn(
            Words(
                vi="sổ cái không có hồ sơ nào của thủ tục, lĩnh vực này; xem lại mã",
                en="the ledger has no dossier of this procedure or sector; check the code",
            )
        )
    return make()


def _report(asked: Asked, now: datetime, *, as_json: bool, as_csv: bool) -> None:
    steps = as_json or as_csv or _counts_steps(asked.rates or ())
    made = _made(asked, now, steps=steps)
    if as_json:
        say_json(made.as_dict())
    elif as_csv:
        rates_shown.as_csv(made)
    else:
        rates_shown.as_table(made)


def _counts_steps(codes: Sequence[str]) -> bool:
    return any(
        STEPS_IN_TIME in term.quantities for code in codes for term in _known_rate(code).terms
    )


# --- the formula -------------------------------------------------------------------------------------


def _explain(asked: Asked, now: datetime, code: str, *, as_json: bool) -> None:
    catalogue = packaged()
    told: tuple[Explained, ...]
    if code in catalogue.blocks:
        made = _made(replace(asked, rates=None), now, steps=False)
        told = (filled.block(catalogue, made.total, code),)
    elif code in catalogue.codes:
        made = _made(replace(asked, rates=[code]), now, steps=_counts_steps([code]))
        figure = made.total.rate(code)
        told = (in_words(catalogue, figure.rate), filled.rate(catalogue, figure))
    else:
        raise unknown_rate(code, near(code, (*catalogue.codes, *catalogue.blocks)))
    if as_json:
        say_json({**rates_shown.head(made), "told": [one.as_dict() for one in told]})
    else:
        rates_shown.as_explained(made, told)


# --- the dossiers ------------------------------------------------------------------------------------


def _list_dossiers(
    asked: Asked,
    now: datetime,
    wanted: str,
    limit: int,
    after: str | None,
    *,
    as_json: bool,
    as_csv: bool,
) -> None:
    code, _, side = wanted.partition(":")
    rate = _known_rate(code)
    side = side or "denominator"
    if side not in SIDES:
        raise refused(
            Words(
                vi=f"--dossiers: {side}: chọn một trong {', '.join(SIDES)}",
                en=f"--dossiers: {side}: choose one of {', '.join(SIDES)}",
            )
        )
    term = rate.terms[0]
    quantity = term.denominator if side == "denominator" else term.numerator
    if quantity == LARGER:  # counted elsewhere; ours are these
        quantity = RECEIVED
    ledger = _ledger(now)
    asked = replace(asked, province=ledger.province)

    def work(connection: Connection) -> list[Counting]:
        start, end, _ = span(asked.period, now)
        scope = scope_of(connection, asked, ledger.directory)
        instead, also, counted = side == "missing", None, quantity
        if quantity == STEPS_IN_TIME:
            if not ledger.steps.kept(start):
                raise NotCounted(f"{quantity}: the ledger no longer keeps its deliveries")
            late = figures.c.dossier_id.in_(late_dossiers(connection, start, end, ledger.steps))
            instead, also, counted = False, late if instead else ~late, HANDLED
        return dossiers_of(
            *(connection, counted, start, end, scope),
            instead=instead,
            after=after,
            limit=limit + 1,  # one more tells whether there are more
            also=also,
        )

    try:
        found = ledger.read(work)
    except NotCounted as error:
        raise refused(Words(vi=f"không liệt kê được hồ sơ của {quantity}", en=str(error))) from None
    page, more = found[:limit], len(found) > limit
    rates_shown.as_dossiers(
        page,
        asked=asked,
        rate=rate.code,
        side=side,
        quantity=quantity,
        following=page[-1].dossier_id if more else None,
        as_json=as_json,
        as_csv=as_csv,
    )

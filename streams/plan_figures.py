"""The plan's figures that are computed: from the ledger of the settings, and the list of service levels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Connection

from monitoring.rates import plan
from monitoring.rates.catalogue import Words
from monitoring.rates.dossier_counts import Scope
from monitoring.rates.plan_figures import PlanFigures, plan_figures
from monitoring.rates.regime_figures import INDICATOR, merged, regime_figures
from schemas.dossier.csv_table import TableError
from schemas.dossier.service_levels import NO_LEVELS, read_service_levels
from schemas.ledger.database import Lane
from schemas.ledger.model import LedgerUnavailable
from schemas.ledger.observations import agencies
from streams.commands import fail, refused, remedy, settings, warn

T = TypeVar("T")

_TOLD = 5  # procedures that are named; how many there are is told too


def computed(
    agency: str, reported: Mapping[str, Sequence[plan.Value]]
) -> Mapping[str, Sequence[plan.Value]]:
    """By the code of the rate: of the province, or of another agency with those beneath it.

    Of the province also the figures of goal 5, by its indicator, with what was `reported` of the periods before
    the first regime came. Ends with status 2 where the list of levels cannot be read.
    """
    chosen = settings()
    try:
        file = chosen.reference.procedures_file
        levels = NO_LEVELS if file is None else read_service_levels(file)
    except TableError as error:
        raise refused(*(Words(vi=f"{error.where}, {vi}", en=en) for vi, en in error.told)) from None
    province = agency == chosen.national_portal.agency_code
    now = datetime.now(UTC)

    def ask(connection: Connection) -> tuple[PlanFigures, Sequence[plan.Value]]:
        scope = None if province else Scope(agencies=_beneath(agency, agencies(connection)))
        found = plan_figures(connection, plan.packaged(), levels, now, scope)
        return found, regime_figures(connection, agency, now) if province else ()

    found, of_regimes = _ask(chosen.ledger_url.get_secret_value(), ask)
    for why in _unlisted(found.unlisted):
        warn(why)
    if not of_regimes:
        return found.values
    return {**found.values, INDICATOR: merged(of_regimes, reported.get(INDICATOR, ()))}


def _beneath(agency: str, known: Iterable[str]) -> frozenset[str]:
    """The agency and those beneath it, by the form of the codes (Decision 20/2020/QĐ-TTg): H12.40, H12.40.05."""
    return frozenset({agency, *(code for code in known if code.startswith(f"{agency}."))})


def _unlisted(procedures: Sequence[str | None]) -> list[Words]:
    """Why the goals about levels have no figure of a period that has dossiers."""
    named = [code for code in procedures if code is not None]
    told = ", ".join([*named[:_TOLD], *(["…"] if len(named) > _TOLD else [])])
    why = []
    if named:
        why.append(
            Words(
                vi=f"{len(named)} thủ tục có hồ sơ mà chưa có mức độ ({told}), nên chưa tính được chỉ tiêu về mức độ; bổ sung vào THONGSUOT_REFERENCE__PROCEDURES_FILE",
                en=f"{len(named)} procedures have dossiers and no level ({told}), so goals about levels have no figure; add them to THONGSUOT_REFERENCE__PROCEDURES_FILE",
            )
        )
    if len(named) < len(procedures):
        why.append(
            Words(
                vi="có hồ sơ mà mã thủ tục chưa ánh xạ, nên chưa tính được chỉ tiêu về mức độ; bổ sung ánh xạ mã",
                en="there are dossiers whose procedure has no mapping, so goals about levels have no figure; add the mapping",
            )
        )
    return why


def _ask(url: str, ask: Callable[[Connection], T]) -> T:
    """What a ledger answers whose tables were looked at before; or the end, and why."""

    async def run() -> T:
        lane = Lane(url, "ledger-plan", seconds=None)
        try:
            return await lane.read(ask)
        finally:
            await lane.close()

    try:
        return asyncio.run(run())
    except LedgerUnavailable as error:
        raise fail(remedy(error)) from None

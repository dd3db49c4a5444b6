"""Who counts and packs which regime: the one place that knows. Service and commands ask here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from monitoring.rates.reckoning import Decode
from schemas.codec import Codec
from schemas.dossier.mappings import Codes
from schemas.ledger.code_mappings import mapping_rows
from schemas.ledger.database import Lane
from schemas.records import DossierEvent
from schemas.registry import HttpRegistry, LocalRegistry
from schemas.reports.periods import PeriodKind, parse_window
from streams.reference import Reference, read_reference
from streams.reporting import form_filling, regime_filling
from streams.reporting.counting import Filling
from streams.reporting.opening import Regime
from streams.settings import ReportingSettings, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What the commands work with; the service is put together from the same parts."""

    lane: Lane
    reference: Reference
    fillings: Mapping[str, Filling]


def regimes(settings: ReportingSettings) -> list[Regime]:
    """The regimes of the settings; none without an agency."""
    if settings.agency is None:
        return []
    found = []
    for code, wanted in settings.regimes.items():
        kinds = dict.fromkeys(wanted.kinds)
        if settings.nine_months:
            kinds[PeriodKind.NINE_MONTHS] = None
        prefix = f"{code}/"
        windows = {
            key.removeprefix(prefix): window
            for key, text in settings.windows.items()
            if key.startswith(prefix) and (window := parse_window(text)) is not None
        }
        found.append(
            Regime(
                code=code,
                agency=settings.agency,
                calendar=wanted.calendar,
                kinds=tuple(kinds),
                due_day=wanted.due_day,
                unit_days=settings.unit_days,
                windows=windows,
            )
        )
    return found


def fillings(
    settings: ReportingSettings, lane: Lane, decode: Decode, codes: Callable[[], Codes]
) -> Mapping[str, Filling]:
    """By regime: form II.06 from dossiers, every other one as the reporting system defined it.

    `codes` yields the mappings in force now.
    """
    found: dict[str, Filling] = {}
    for code in settings.regimes:
        if code == form_filling.REGIME:
            treatment = settings.form.treatment()
            found[code] = form_filling.filling_of(lane, decode, codes, treatment)
        else:
            found[code] = regime_filling.filling_of(lane, code)
    return found


@asynccontextmanager
async def office(settings: Settings) -> AsyncIterator[Office]:
    """For a command. Raises `TableError`, `OSError` and `LedgerUnavailable`."""
    url = settings.ledger_url.get_secret_value()
    lane = Lane(url, "ledger-reports", seconds=None)
    registry = (
        LocalRegistry() if settings.registry_url is None else HttpRegistry(settings.registry_url)
    )
    try:
        reference = read_reference(settings.reference)
        version, rows = await lane.read(mapping_rows)
        codec, codes = Codec(registry), Codes(rows, version)

        async def decode(payload: bytes) -> DossierEvent:
            return await codec.decode_as(payload, DossierEvent)

        found = fillings(settings.reporting, lane, decode, lambda: codes)
        yield Office(lane=lane, reference=reference, fillings=found)
    finally:
        if isinstance(registry, HttpRegistry):
            await registry.close()
        await lane.close()

"""What people keep in files beside the settings: calendar, agencies, service levels. Read once, at a start."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime

from pydantic_core import to_json

from monitoring.rates.catalogue import packaged
from monitoring.rates.reckoning import Rules, comparison_on
from schemas.dossier.agencies import Agencies, read_agencies
from schemas.dossier.days_off import packaged_days_off, read_days_off
from schemas.dossier.mappings import Codes
from schemas.dossier.service_levels import NO_LEVELS, ServiceLevels, read_service_levels
from schemas.dossier.working_calendar import WorkingCalendar, civil_day
from schemas.dossier.working_hours import packaged_working_hours, read_working_hours
from streams.settings import ReferenceSettings

_NAME_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`calendar_name` tells this calendar from every other: what was reckoned by another is outdated.

    Without a file of procedures their levels are unknown.
    Without `agencies` the units are those that the ledger's dossiers name, side by side.
    """

    calendar: WorkingCalendar
    calendar_name: str
    levels: ServiceLevels
    agencies: Agencies | None = None


def rules_of(codes: Codes, reference: Reference, now: datetime) -> Rules:
    """By what the figures of dossiers are reckoned at this moment, with these mappings."""
    return Rules(
        codes=codes,
        calendar=reference.calendar,
        calendar_name=reference.calendar_name,
        levels=reference.levels,
        comparison=comparison_on(packaged(), civil_day(now)),
    )


def read_reference(settings: ReferenceSettings) -> Reference:
    """The packaged tables with the province's own in their places, and the province's service levels.

    Raises `TableError` with everything that is wrong in a file, and `OSError`.
    """
    days_off = packaged_days_off()
    if settings.days_off_file is not None:
        days_off = days_off.replaced_by(read_days_off(settings.days_off_file))
    hours = (
        packaged_working_hours()
        if settings.working_hours_file is None
        else read_working_hours(settings.working_hours_file)
    )
    levels = (
        NO_LEVELS
        if settings.procedures_file is None
        else read_service_levels(settings.procedures_file)
    )
    held = [asdict(day) for day in days_off.days.values()], [asdict(row) for row in hours.rows]
    digest = hashlib.sha256(to_json(held)).hexdigest()
    return Reference(
        calendar=WorkingCalendar(days_off, hours),
        calendar_name=f"calendar {digest[:_NAME_DIGITS]}",
        levels=levels,
        agencies=agencies_of(settings),
    )


def agencies_of(settings: ReferenceSettings) -> Agencies | None:
    """The province's directory; None without a file. Raises `TableError`."""
    return None if settings.agencies_file is None else read_agencies(settings.agencies_file)

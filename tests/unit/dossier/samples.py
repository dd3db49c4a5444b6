"""Civil times of Viet Nam in short, and a calendar whose days are known by heart.

The calendar is the packaged one with three agencies: `SATURDAYS` works Saturday mornings too, `LONG_DAYS`
had other hours until the merger, `SUNDAYS` works on Sunday evenings alone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.dossier.days_off import packaged_days_off
from schemas.dossier.working_calendar import WorkingCalendar
from schemas.dossier.working_hours import parse_working_hours

VIET_NAM = ZoneInfo("Asia/Ho_Chi_Minh")
SATURDAYS, LONG_DAYS, SUNDAYS = "H12.100", "H12.01", "H12.101"

HOURS = f"""agency,weekdays,from,to,valid_from,valid_to,source
,mon-fri,07:00,11:00,,,invented
,mon-fri,13:00,17:00,,,invented
{SATURDAYS},mon-fri,07:30,11:30,,,invented
{SATURDAYS},mon-fri,13:30,17:00,,,invented
{SATURDAYS},sat,07:30,11:30,,,invented
{LONG_DAYS},mon-fri,06:00,18:00,,2025-07-01,invented
{SUNDAYS},sun,18:00,21:30,,,invented
"""

CALENDAR = WorkingCalendar(packaged_days_off(), parse_working_hours(HOURS, "hours.csv"))

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)


def at(text: str) -> datetime:
    """An instant by the clock on the wall, e.g. at("2026-11-23 09:30"), in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=VIET_NAM).astimezone(UTC)


def told(instant: datetime) -> str:
    """The same the other way round, for messages that can be read."""
    return instant.astimezone(VIET_NAM).strftime("%Y-%m-%d %H:%M")

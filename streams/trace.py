"""`thongsuot trace`: the whole story of one dossier or report, told from the ledger, without personal data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from rich.table import Table

from schemas.ledger.model import TraceEntry
from schemas.ledger.sql import SqlLedger
from streams.reason_texts import in_words
from streams.settings import Settings

KINDS = {
    "event": "sự kiện · event",
    "delivery": "lượt chuyển · delivery",
    "attempt": "lần gửi · attempt",
    "receipt": "xác nhận · receipt",
    "finding": "phát hiện · finding",
    "dead_letter": "bản tin hỏng · dead letter",
}


@dataclass(frozen=True, slots=True)
class Story:
    """One dossier, or one report, and everything that happened to it, oldest first."""

    dossier_id: str
    entries: Sequence[TraceEntry]
    zone: ZoneInfo
    of_a_report: bool = False

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "report_id" if self.of_a_report else "dossier_id": self.dossier_id,
            "entries": [
                # Facts have names of their own, "kind" among them.
                {"at": entry.at.isoformat(), "kind": entry.kind, "facts": dict(entry.facts)}
                for entry in self.entries
            ],
        }

    def table(self) -> Table:
        """For people: local time, what, and the facts."""
        what = "Báo cáo · report" if self.of_a_report else "Hồ sơ · dossier"
        table = Table(title=f"{what} {self.dossier_id}", title_justify="left", box=None)
        table.add_column("lúc · at", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("", overflow="fold")
        for entry in self.entries:
            facts = "  ".join(_shown(key, value) for key, value in entry.facts.items() if value)
            at = entry.at.astimezone(self.zone)
            table.add_row(f"{at:%d/%m %H:%M:%S.%f}"[:-3], KINDS.get(entry.kind, entry.kind), facts)
        return table


def _shown(key: str, value: str) -> str:
    if key == "reason":
        return f"{key}={value} ({in_words(value)[0]})"
    return f"{key}={value}"


async def read_story(settings: Settings, number: str) -> Sequence[Story]:
    """Every dossier known by this number, or the report of this id.

    Raises `LedgerMismatch` or `LedgerUnavailable`.
    """
    zone = ZoneInfo(settings.one_stop.zone)
    async with SqlLedger(settings.ledger_url.get_secret_value()) as ledger:
        dossiers = [
            Story(dossier_id, await ledger.trace(dossier_id), zone)
            for dossier_id in await ledger.find_dossier(number)
        ]
        reports = [
            Story(report_id, await ledger.trace(report_id), zone, of_a_report=True)
            for report_id in await ledger.find_report(number)
        ]
        return [*dossiers, *reports]

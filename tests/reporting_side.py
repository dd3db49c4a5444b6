"""The far side of reports for tests: packets that balance, the simulator's settings, and the judge.

Truth is what the harness itself published, beside what the simulated reporting system holds. The hub is not
asked. All figures and words are invented.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

from schemas.records import ReportPacket
from schemas.reports.kinds import PacketKind
from schemas.reports.packets import (
    FigureRow,
    Figures,
    canonical,
    content_hash,
    report_id,
)
from schemas.sealing import Sealer

SIMULATOR = "connectors.gov_reporting.simulator"
TODAY = "2026-12-24"
"""The simulator's day: behind the cut-off of every period here."""

PROFILE = {"revisions": "rising", "today": TODAY}
"""A newer revision replaces an unsent older one, so the numbers that arrive may have holes."""

COLUMNS = tuple(f"c{number}" for number in range(3, 14))
AGENCY = "H12"


def reporting_settings(ready: Mapping[str, Any]) -> dict[str, str]:
    """Who the hub is towards the simulator, without the prefix."""
    return {
        "GOV_REPORTING__ADDRESS": ready["url"],
        "GOV_REPORTING__TOKEN_ADDRESS": ready["token_url"],
        "GOV_REPORTING__CLIENT_ID": "thongsuot",
        "GOV_REPORTING__CLIENT_SECRET": "thongsuot",
        "GOV_REPORTING__SENDER": AGENCY,
    }


@dataclass
class Publisher:
    """Makes packets as the reporting service does, and remembers all of them."""

    sealer: Sealer
    seed: int = 6
    published: dict[str, list[ReportPacket]] = field(default_factory=dict)

    def revise(self, month: int, form: str = "II.06a", *, note: str | None = None) -> ReportPacket:
        """The next revision of a month of 2026. `note`: words that go with the figures."""
        name = report_id(PacketKind.FIGURES, "II.06", form, f"2026-{month:02}", AGENCY)
        before = self.published.setdefault(name, [])
        made = self._packet(name, month, form, len(before) + 1, note)
        before.append(made)
        return made

    def _packet(
        self, name: str, month: int, form: str, revision: int, note: str | None
    ) -> ReportPacket:
        content = Figures(
            axes=("agency", "sector"),
            indicators=COLUMNS,
            unit="hồ sơ",
            rows=_rows(random.Random(f"{self.seed}/{name}/{revision}")),
            note=note,
        )
        last = date(2026, month, 14)
        first = date(2025, 12, 15) if month == 1 else date(2026, month - 1, 15)
        now = datetime.now(UTC)
        return ReportPacket(
            packet_id=f"{name}/r{revision}",
            report_id=name,
            kind=PacketKind.FIGURES,
            regime="II.06",
            form=form,
            form_version="TT01/2020",
            period=f"2026-{month:02}",
            window_from=first,
            window_to=last,
            due_on=date(2026, month, 25),
            agency=AGENCY,
            revision=revision,
            snapshot_hash=content_hash(content),
            sealed=self.sealer.seal(zlib.compress(canonical(content)), name),
            known_at=now,
            approved_at=now,
            recorded_at=now,
        )


def _rows(rng: random.Random) -> tuple[FigureRow, ...]:
    """Rows of form II.06a whose identities hold."""
    rows = []
    for agency in ("H12.01", "H12.02"):
        for sector in ("A", "B"):
            done, is_open = ([rng.randint(0, 50) for _ in range(n)] for n in (3, 2))
            c7, c11 = sum(done), sum(is_open)
            c4 = rng.randint(0, c7 + c11)
            c5 = rng.randint(0, c7 + c11 - c4)
            values = (c7 + c11, c4, c5, c7 + c11 - c4 - c5, c7, *done, c11, *is_open)
            rows.append(FigureRow(keys=(agency, sector), values=values))
    return tuple(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportVerdict:
    """What the reporting system holds, against what was published. `held`: effects in all.

    `stale`: an older revision than the newest is the last there. `foreign`: a revision or a content that
    nobody published.
    """

    held: int
    missing: int
    duplicate_effects: int
    order_violations: int
    stale: int
    foreign: int
    findings: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not self.findings


def judge(
    published: Mapping[str, Sequence[ReportPacket]],
    truth: Iterable[Mapping[str, Any]],
    refused: Collection[str] = (),
) -> ReportVerdict:
    """`truth` as `/_truth/reports` tells it; of reports in `refused` the newest need not have arrived."""
    there = {one["report"]: one["revisions"] for one in truth}
    counts: Counter[str] = Counter()
    findings: list[str] = []

    def wrong(kind: str, text: str) -> None:
        counts[kind] += 1
        findings.append(f"{kind}: {text}")

    for name in sorted(there.keys() - published.keys()):
        wrong("foreign", f"{name} was never published")
    for name, packets in sorted(published.items()):
        effects = [(one["revision"], one["hash"]) for one in there.get(name, ())]
        hashes = {packet.revision: packet.snapshot_hash for packet in packets}
        for revision, content in effects:
            if hashes.get(revision) != content:
                wrong("foreign", f"{name} r{revision} has a content that was not published")
        for revision, often in Counter(revision for revision, _ in effects).items():
            if often > 1:
                wrong("duplicate_effects", f"{name} r{revision} took effect {often} times")
        for (before, _), (after, _) in pairwise(effects):
            if after < before:
                wrong("order_violations", f"{name} r{after} came after r{before}")
        newest = max(hashes, default=0)
        if name in refused:
            continue
        if newest and not effects:
            wrong("missing", f"{name} r{newest} never arrived")
        elif newest and effects[-1][0] < newest:
            wrong("stale", f"{name} stands at r{effects[-1][0]}, r{newest} was published")
    return ReportVerdict(
        held=sum(len(one) for one in there.values()),
        missing=counts["missing"],
        duplicate_effects=counts["duplicate_effects"],
        order_violations=counts["order_violations"],
        stale=counts["stale"],
        foreign=counts["foreign"],
        findings=tuple(findings),
    )

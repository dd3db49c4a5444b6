"""The verdict on one cell of the SOAP grid: what both sides hold of its dossiers, and what struck them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.demo.processes import expectation
from streams.demo.verdict import Expectation, Struck, Verdict, judge
from tests.torture import settings as common
from tests.torture.installation import Installation, only
from tests.torture.scenario import Result, wrong
from tests.torture.soap_cells import WRITES, Cell

LEAST_PER_CELL = 3
"""So many calls of its operation must a cell have struck."""

PHASE_SECONDS = 300.0

_EXEMPT_WHEN_LATE = frozenset({"duplicate_effects", "order_violations", "stale"})

Call = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What both sides hold at the end, read once for all cells."""

    expected: Expectation
    held: Mapping[str, Mapping[str, Any]]
    parked: Mapping[int, frozenset[str]]
    calls: Sequence[Call]
    late: Sequence[Mapping[str, Any]]
    found: Mapping[str, int]
    """Late effects that the hub found, by dossier code."""

    @classmethod
    async def gather(cls, hub: Installation) -> Evidence:
        bound = common.LATE_EFFECT_BOUND_SECONDS + common.SEND_BY_SECONDS
        return cls(
            expected=await asyncio.to_thread(expectation, hub.journal),
            held=await hub.portal.held(),
            parked=await asyncio.to_thread(hub.view.parked_by_source_id),
            calls=await hub.portal.calls(),
            late=(await hub.portal.get(f"/_truth/late?bound={bound}"))["late"],
            found=await asyncio.to_thread(late_effects_found, hub),
        )

    def judge(self, cell: Cell, dossiers: Mapping[str, int], profile: str) -> Result:
        """One row. `dossiers`: code -> id in the one-stop system."""
        struck = [call for call in self.calls if call["label"] == cell.name]
        hit = [call for call in struck if call["operation"] == cell.operation]
        wanted = {
            dossiers[code]: frozenset({reason})
            for call in hit
            for code in call["codes"]
            if (reason := cell.parks(profile, call["items"])) is not None
        }
        verdict = self.verdict(dossiers, wanted)
        late = self._late(cell, dossiers, profile)
        findings = wrong(verdict, late.exempt)
        parked = {d: r for d, r in self.parked.items() if d in dossiers.values()}
        if parked != wanted:
            findings.append(_difference(wanted, parked))
        if late.findings:
            findings += late.findings
        if len(hit) < LEAST_PER_CELL or len(struck) != len(hit):
            findings.append(
                f"guard: {len(hit)} calls of {cell.operation} struck, {LEAST_PER_CELL} are needed"
            )
        return Result(
            scenario=f"soap/{cell.name}",
            profile=profile,
            events=sum(e.dossier in dossiers.values() for e in self.expected.entries),
            faults_injected=len(hit),
            missing=verdict.missing,
            duplicate_effects=verdict.duplicate_effects,
            order_violations=verdict.order_violations,
            stale=verdict.stale,
            duplicate_calls=duplicate_calls(self.calls, dossiers),
            parked=verdict.parked,
            parked_expected=len(wanted),
            undecided=sum("outcome_unknown" in reasons for reasons in parked.values()),
            late_effects_found=late.found,
            findings=tuple(findings),
        )

    def verdict(self, dossiers: Mapping[str, int], wanted: Mapping[int, frozenset[str]]) -> Verdict:
        """The oracle's verdict on these dossiers, of which `wanted` may be parked because of a trouble."""
        ids = set(dossiers.values())
        by_reason = {
            reason: frozenset(c for c, d in dossiers.items() if reason in wanted.get(d, ()))
            for reason in ("rejected_by_target", "outcome_unknown")
        }
        return judge(
            only(self.expected, ids),
            {code: one for code, one in self.held.items() if code in dossiers},
            {d: reasons for d, reasons in self.parked.items() if d in ids},
            Struck(refused=by_reason["rejected_by_target"], ambiguous=by_reason["outcome_unknown"]),
        )

    def _late(self, cell: Cell, dossiers: Collection[str], profile: str) -> _Late:
        """What came after the bound, what of it this profile can see, and what of that was found."""
        mine = [one for one in self.late if one["code"] in dossiers]
        if not cell.trouble.late:
            surprise = [f"{one['code']}: an effect beyond the bound" for one in mine]
            return _Late(found=0, findings=surprise)
        changed = [one for one in mine if one["effects"]]
        if cell.operation == "create":
            return self._late_creations(changed)
        if not changed:
            return _Late(found=0, findings=["guard: no effect came late"])
        seen = [
            one for one in changed if one["shown"][profile] and (one["overtaken"] or one["doubled"])
        ]
        if not cell.shows_late(profile):
            return _Late(found="undetectable", exempt=_EXEMPT_WHEN_LATE)
        if not seen:
            return _Late(found=0, findings=["guard: no late effect came behind a later call"])
        found = {one["code"]: self.found.get(one["code"], 0) for one in seen}
        findings = [f"{code}: a late effect was not found" for code, n in found.items() if not n]
        findings += [
            f"{one['code']}: a late state was not mended"
            for one in seen
            if one["operation"] != "steps" and one["mended_at"] is None
        ]
        # Mended is mended: what is seen excuses no stale state at the end.
        return _Late(
            found=sum(map(bool, found.values())),
            findings=findings,
            exempt=_EXEMPT_WHEN_LATE - {"stale"},
        )

    def _late_creations(self, changed: Sequence[Mapping[str, Any]]) -> _Late:
        """Found as already there under every profile; nothing is excused.

        One that came behind the hub's second creation is refused as any second one, and shows nothing.
        """
        findings = [] if changed else ["guard: no creation took effect late"]
        known = 0
        for one in changed:
            later = [
                call
                for call in self.calls
                if call["at"] > one["decided_at"] and one["code"] in call["codes"]
            ]
            found = any(
                (call["operation"], call["verdict"]) in (("create", "exists"), ("update", "done"))
                for call in later
            )
            known += found
            if not found:
                findings.append(f"{one['code']}: a late creation was not found")
        return _Late(found=known, findings=findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Late:
    found: int | str
    findings: Sequence[str] = ()
    exempt: frozenset[str] = frozenset()


def late_effects_found(hub: Installation) -> dict[str, int]:
    """Late effects that the hub itself says it found, by dossier code. Blocks."""
    rows = hub.view.rows(
        "select d.code, count(*) from findings f join dossiers d on d.dossier_id = f.dossier_id"
        " where f.reason in ('late_create', 'late_state', 'late_step', 'step_twice')"
        " group by d.code"
    )
    return {code: int(number) for code, number in rows}


async def settled(hub: Installation, what: str) -> None:
    """Until the portal holds all that is owed so far, but for what is parked. Raises `Guard`."""

    async def short_of() -> tuple[int, int]:
        verdict = await hub.verdict()
        counts = await hub.standing_of_hub()
        return verdict.missing + verdict.stale, counts.under_way if counts is not None else -1

    await hub.until(short_of, lambda now: now == (0, 0), what, PHASE_SECONDS)


def duplicate_calls(calls: Sequence[Call], codes: Collection[str]) -> int:
    """Writes about these dossiers that were granted and changed nothing."""
    return sum(
        call["verdict"] == "done"
        and call["effects"] == 0
        and call["operation"] in WRITES
        and any(code in codes for code in call["codes"])
        for call in calls
    )


def _difference(wanted: Mapping[int, frozenset[str]], parked: Mapping[int, frozenset[str]]) -> str:
    short = sorted(d for d in wanted if parked.get(d) != wanted[d])
    over = sorted(d for d in parked if d not in wanted)
    return f"parked: {len(short)} not as expected {short[:3]}, {len(over)} beside them {over[:3]}"

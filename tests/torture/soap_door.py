"""The troubles of the SOAP grid that stop the whole flow, one after the other: refused, DNS, TLS, connect
timeout, and the answers with a Retry-After.

The first meet every caller before a byte is written. Each lasts until attempts of all three operations have
met it; then everything must arrive as if nothing had been. The portal of this run speaks TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from connectors.one_stop.simulator.dossier import Dossier
from connectors.one_stop.simulator.process import Act
from streams.demo.processes import end, portal_settings, start_simulator
from tests.torture.installation import Installation
from tests.torture.scenario import Result, Scenario, deaths, of_the_hub, wrong
from tests.torture.soap_cells import AT_ONE_CALL, FOR_ALL, WRITES
from tests.torture.soap_evidence import (
    LEAST_PER_CELL,
    PHASE_SECONDS,
    Evidence,
    duplicate_calls,
    settled,
)
from tests.torture.soap_source import Source

_PER_CELL = 5
_FOR_EVER = 3600.0  # until the scenario ends it

_ATTEMPTS = (
    "select d.code, a.kind, count(*) from attempts a join dossiers d on d.dossier_id = a.dossier_id"
    " where a.reason = :reason and a.outcome = 'failed' group by d.code, a.kind"
)


def soap_door(profile: str) -> Scenario:
    """The scenario of one profile."""
    sources: list[Source] = []

    async def prepare(hub: Installation) -> None:
        sources.append(Source(hub))
        await sources[-1].open()

    async def run(hub: Installation) -> Sequence[Result]:
        source = sources.pop()
        try:
            async with _behind_tls(hub):
                return await _Door(hub, source).play()
        finally:
            await source.close()

    return Scenario(
        name=f"soap-door-{profile}",
        row="soap",
        about=f"{len(FOR_ALL)} troubles for all x write operation, look-ups tell {profile}",
        run=run,
        prepare=prepare,
        profile=profile,
        workers=1,
        load=None,
        latency_ms=5.0,
        # All that is written in a trouble is tried once before the circuit opens.
        settings={"ENGINE__CIRCUIT_FAILURES_IN_ROW": "40", "ENGINE__CIRCUIT_WINDOW": "100"},
    )


@asynccontextmanager
async def _behind_tls(hub: Installation) -> AsyncIterator[None]:
    """The hub, started again in front of a portal that speaks TLS; the plain one was never called."""
    process, ready = await start_simulator(
        "connectors.national_portal.simulator",
        *("--port", "0", "--control-port", "0", "--db", str(hub.folder / "portal_tls.db")),
        *("--profile", hub.profile, "--tls", str(hub.folder / "tls")),
        log=hub.folder / "portal_tls.log",
    )
    plain = hub.portal.url
    try:
        hub.portal.url = ready["control_url"]
        await _restart(hub, _towards(ready["url"], hub.folder / "tls" / "ca.pem"))
        yield
    finally:
        hub.portal.url = plain
        await end(process)


def _towards(url: str, ca: Path) -> dict[str, str]:
    return {**portal_settings(url), "NATIONAL_PORTAL__CA_CERTIFICATES": str(ca)}


async def _restart(hub: Installation, changes: Mapping[str, str]) -> None:
    for worker in hub.workers.values():
        await hub.stop(worker.name, fault=False)
        worker.environment.update(changes)
    await hub.start(*hub.workers)
    await hub.ready(*hub.workers)


@dataclass(frozen=True, slots=True)
class _Cell:
    """Dossiers that meet one trouble with one kind of call."""

    trouble: str
    operation: str
    dossiers: Sequence[Dossier]

    @property
    def codes(self) -> Mapping[str, int]:
        return {dossier.code: dossier.dossier_id for dossier in self.dossiers}


class _Door:
    def __init__(self, hub: Installation, source: Source) -> None:
        self._hub = hub
        self._source = source
        self._cells: dict[tuple[str, str], _Cell] = {}
        self._hits: dict[tuple[str, str], int] = {}

    async def play(self) -> Sequence[Result]:
        for trouble, _ in FOR_ALL:
            for operation in WRITES:
                dossiers = await self._source.new(_PER_CELL)
                self._cells[trouble, operation] = _Cell(trouble, operation, dossiers)
                if operation != "create":  # there must be something to update
                    await self._source.act(dossiers, Act.RECEIVE, Act.ASSIGN)
        await settled(self._hub, "the portal's knowing what is to be updated")
        for trouble, reason in FOR_ALL:
            await self._meet(trouble, reason)
        await self._hub.rest(PHASE_SECONDS)
        return await self._results()

    async def _meet(self, trouble: str, reason: str) -> None:
        address = self._hub.workers["w1"].environment["NATIONAL_PORTAL__ADDRESS"]
        if trouble == "dns":
            nobody = address.replace("127.0.0.1", "portal.invalid")
            await _restart(self._hub, {"NATIONAL_PORTAL__ADDRESS": nobody})
        elif trouble in AT_ONE_CALL:
            script = {
                code: [{"trouble": trouble, "operation": operation, "retry_after": 1}]
                for operation in WRITES
                for code in self._cells[trouble, operation].codes
            }
            await self._hub.portal.post("/_control/script", script)
        else:
            await self._hub.trouble(trouble=trouble, seconds=_FOR_EVER)
        before = await self._met(reason)
        # The status stays what it was, so there is a step to send and no state.
        await self._source.act(self._cells[trouble, "steps"].dossiers, Act.SUBMIT)
        await self._source.act(self._cells[trouble, "update"].dossiers, Act.RELEASE)
        await self._source.act(self._cells[trouble, "create"].dossiers, Act.RECEIVE)

        async def hits() -> list[int]:
            now = await self._met(reason)
            for operation in WRITES:
                codes = self._cells[trouble, operation].codes
                self._hits[trouble, operation] = sum(
                    now.get((code, operation), 0) - before.get((code, operation), 0)
                    for code in codes
                )
            return [self._hits[trouble, operation] for operation in WRITES]

        await self._hub.until(
            hits,
            lambda now: min(now) >= LEAST_PER_CELL,
            f"attempts that met {trouble}",
            PHASE_SECONDS,
        )
        if trouble == "dns":
            await _restart(self._hub, {"NATIONAL_PORTAL__ADDRESS": address})
        else:
            await self._hub.portal.delete("/_control/faults")
        await settled(self._hub, f"everything's arrival after {trouble}")

    async def _met(self, reason: str) -> dict[tuple[str, str], int]:
        """Failed attempts of this reason by dossier code and operation: no call of them came in."""
        rows = await asyncio.to_thread(self._hub.view.rows, _ATTEMPTS, reason=reason)
        return {(code, kind): int(number) for code, kind, number in rows}

    async def _results(self) -> list[Result]:
        evidence = await Evidence.gather(self._hub)
        results = []
        for (trouble, operation), cell in self._cells.items():
            verdict = evidence.verdict(cell.codes, {})
            results.append(
                Result(
                    scenario=f"soap/{trouble}/{operation}",
                    profile=self._hub.profile,
                    events=sum(e.dossier in cell.codes.values() for e in evidence.expected.entries),
                    faults_injected=self._hits[trouble, operation],
                    missing=verdict.missing,
                    duplicate_effects=verdict.duplicate_effects,
                    order_violations=verdict.order_violations,
                    stale=verdict.stale,
                    duplicate_calls=duplicate_calls(evidence.calls, cell.codes),
                    parked=verdict.parked,
                    findings=tuple(wrong(verdict)),
                )
            )
        whole = await of_the_hub(self._hub)
        results[0] = replace(
            results[0],
            worker_deaths=deaths(self._hub),
            findings=(*results[0].findings, *whole),
        )
        return results

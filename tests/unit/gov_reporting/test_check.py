"""`check`: what is wrong, and what to do, in both languages; nothing is sent but a question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors.gov_reporting.check import check
from connectors.gov_reporting.simulator import ReportingSimulator
from connectors.gov_reporting.simulator.troubles import Rule
from schemas.reasons import Reason
from tests.unit.gov_reporting import samples


async def test_all_is_well(tmp_path: Path) -> None:
    async with ReportingSimulator(tmp_path / "t.db", profile=samples.profile()) as system:
        assert await check(samples.settings(system), samples.SEALER, samples.HASHER) == []
        soap = samples.settings(system, **samples.soap(system))
        assert await check(soap, samples.SEALER, samples.HASHER) == []
        assert system.truth.summary()["calls"] == {"token": 1, "look_up": 2}
        assert system.truth.summary()["effects"] == 0


@pytest.mark.parametrize(
    ("changes", "trouble", "reason", "word"),
    [
        ({"client_secret": "khác"}, None, Reason.WRONG_CREDENTIALS, "CLIENT_SECRET"),
        ({"address": "http://127.0.0.1:9/"}, None, Reason.CONNECTION_REFUSED, "ADDRESS"),
        ({"token_address": "http://a.invalid/"}, None, Reason.DNS_FAILURE, "TOKEN_ADDRESS"),
        ({}, "html_200", Reason.UNPARSEABLE_ANSWER, "ENCODING"),
        ({}, "unavailable", Reason.TARGET_UNAVAILABLE, "try later"),
    ],
)
async def test_a_problem_names_its_remedy(
    tmp_path: Path, changes: dict[str, Any], trouble: str | None, reason: Reason, word: str
) -> None:
    async with ReportingSimulator(tmp_path / "t.db", profile=samples.profile()) as system:
        if trouble is not None:
            await system.arm(Rule(trouble=trouble, operation="look_up"))
        settings = samples.settings(system, **changes)
        (problem,) = await check(settings, samples.SEALER, samples.HASHER)
    assert problem.reason is reason
    assert word in problem.en
    assert problem.vi
    assert samples.CLIENT_SECRET not in problem.vi + problem.en


async def test_a_wrong_address_on_the_platform_is_told(tmp_path: Path) -> None:
    async with ReportingSimulator(tmp_path / "t.db", profile=samples.profile()) as system:
        settings = samples.settings(system, address=f"{system.url}/khac")
        (problem,) = await check(settings, samples.SEALER, samples.HASHER)
    assert problem.reason is Reason.CONTRACT_MISMATCH


async def test_a_certificate_of_nobody_is_told(tmp_path: Path) -> None:
    async with ReportingSimulator(
        tmp_path / "t.db", profile=samples.profile(), tls=tmp_path / "tls"
    ) as system:
        (problem,) = await check(samples.settings(system), samples.SEALER, samples.HASHER)
        assert problem.reason is Reason.TLS_FAILURE
        assert "CA_CERTIFICATES" in problem.vi
        good = samples.settings(system, ca_certificates=system.ca)
        assert await check(good, samples.SEALER, samples.HASHER) == []


async def test_every_fault_of_a_table_is_told_at_once(tmp_path: Path) -> None:
    table = tmp_path / "elements.toml"
    table.write_text('name = "x"\n')
    problems = await check(samples.settings(elements=table), samples.SEALER, samples.HASHER)
    assert len(problems) > 5
    assert all("ELEMENTS" in each.en for each in problems)

"""Every trouble: what the caller sees, and what the truth holds afterwards."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from lxml import etree

from connectors.national_portal.simulator import PortalSimulator
from connectors.national_portal.simulator.troubles import TROUBLES
from tests.unit.national_portal_simulator.soap_calls import XROAD, Caller, dossier, step

CODE = "H12.01-261123-0001"


async def effects(caller: Caller) -> int:
    number: int = (await caller.summary())["effects"]
    return number


async def effects_become(caller: Caller, number: int) -> None:
    async with asyncio.timeout(10):
        while await effects(caller) != number:
            await asyncio.sleep(0.02)


@pytest.fixture
async def impatient(caller: Caller) -> AsyncIterator[Caller]:
    """The same caller, who gives up after a quarter of a second."""
    timeout = aiohttp.ClientTimeout(total=0.25)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        other = Caller(caller.portal, http)
        other.session = caller.session
        yield other


ANSWERED: list[tuple[str, str, int, str]] = [
    ("fault_500", "before", 500, "Fault>"),
    ("fault_500", "after", 500, "Fault>"),
    ("fault_200", "before", 200, "Fault>"),
    ("fault_200", "after", 200, "Fault>"),
    ("business_error", "before", 200, "error_code>-9<"),
    ("business_error", "after", 200, "error_code>-9<"),
    ("html_502", "before", 502, "<html>"),
    ("html_502", "after", 502, "<html>"),
    ("truncated_xml", "before", 200, "Envelope"),
    ("truncated_xml", "after", 200, "Envelope"),
    ("foreign_answer", "before", 200, "error_code>0<"),
    ("foreign_answer", "after", 200, "error_code>0<"),
    ("already_exists", "before", 200, "đã tồn tại"),
    ("already_exists", "after", 200, "đã tồn tại"),
    ("expired_session", "before", 200, "error_code>-1<"),
    ("rate_limited", "before", 429, "rate"),
    ("unavailable", "before", 503, "unavailable"),
    ("wrong_namespace", "before", 200, "urn:another:contract"),
    ("wrong_namespace", "after", 200, "urn:another:contract"),
    ("duplicate_answer", "before", 200, "session>"),
    ("duplicate_answer", "after", 200, "session>"),
]


@pytest.mark.parametrize(("trouble", "stage", "status", "said"), ANSWERED)
async def test_an_answer_in_trouble(
    caller: Caller, trouble: str, stage: str, status: int, said: str
) -> None:
    await caller.fault(operation="create", trouble=trouble, stage=stage)
    answer = await caller.create(dossier())
    assert answer.status == status
    assert said in answer.body.decode()
    assert await effects(caller) == (1 if stage == "after" else 0)
    (call,) = (await caller.control("GET", f"/_truth/calls?code={CODE}"))["calls"]
    assert (call["trouble"], call["stage"]) == (trouble, stage)
    if trouble == "expired_session":
        await caller.log_in()
    assert (await caller.create(dossier())).code == ("-3" if stage == "after" else "0")


async def test_the_answer_of_the_previous_call_of_the_same_operation(caller: Caller) -> None:
    first = await caller.create(dossier("A"))
    await caller.look_up("A")
    await caller.fault(trouble="duplicate_answer")
    assert (await caller.create(dossier("B"))).body == first.body
    assert await effects(caller) == 2


@pytest.mark.parametrize("trouble", ["rate_limited", "unavailable"])
async def test_the_caller_is_told_when_to_come_again(caller: Caller, trouble: str) -> None:
    await caller.fault(trouble=trouble, retry_after=7)
    assert (await caller.create(dossier())).headers["Retry-After"] == "7"


@pytest.mark.parametrize(("code", "text"), [("0", "Mã đã tồn tại"), ("3", None)])
async def test_words_of_ones_own(caller: Caller, code: str, text: str | None) -> None:
    await caller.fault(trouble="already_exists", code=code, text=text)
    answer = await caller.create(dossier())
    assert answer.code == code
    assert (text or "Hồ sơ đã tồn tại") in answer.body.decode()


async def test_a_look_up_of_the_past(caller: Caller) -> None:
    await caller.create(dossier())
    await caller.fault(trouble="stale_look_up", delay=3600)
    assert (await caller.look_up(CODE)).items == []
    assert (await caller.look_up(CODE)).items == [{"MaHoSo": CODE}]


async def test_a_trouble_is_not_spent_on_a_call_without_a_session(caller: Caller) -> None:
    await caller.fault(trouble="expired_session")
    await caller.fault(trouble="business_error", operation="create")
    await caller.look_up(CODE)
    assert (await caller.create(dossier())).code == "-1"
    await caller.log_in()
    assert (await caller.create(dossier())).code == "-9"


async def test_an_ended_session_stays_ended(caller: Caller) -> None:
    await caller.fault(trouble="expired_session")
    await caller.look_up(CODE)
    assert (await caller.look_up(CODE)).code == "-1"


async def test_truncated_xml_cannot_be_parsed(caller: Caller) -> None:
    await caller.fault(trouble="truncated_xml")
    answer = await caller.create(dossier())
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(answer.body)


async def test_an_answer_with_another_message_id(caller: Caller) -> None:
    await caller.fault(trouble="foreign_answer")
    answer = await caller.create(dossier(), message_id="mine")
    assert answer.root.findtext(f".//{{{XROAD}}}id") not in (None, "mine")


async def test_an_answer_about_another_dossier(caller: Caller) -> None:
    await caller.fault(trouble="foreign_answer", foreign="dossier", times=2)
    answer = await caller.create(dossier(), message_id="mine")
    assert answer.root.findtext(f".//{{{XROAD}}}id") == "mine"
    assert answer.root.findtext(f".//{{{XROAD}}}issue") == "000.00.00.G22-000000-0000"
    looked_up = await caller.look_up(CODE)
    assert looked_up.items == [{"MaHoSo": "000.00.00.G22-000000-0000"}]


@pytest.mark.parametrize(("stage", "number"), [("before", 0), ("after", 1)])
async def test_no_answer(caller: Caller, impatient: Caller, stage: str, number: int) -> None:
    await caller.fault(trouble="no_answer", stage=stage)
    with pytest.raises(TimeoutError):
        await impatient.create(dossier())
    assert await effects(caller) == number


@pytest.mark.parametrize(("trouble", "stage"), [("late_answer", "after"), ("slow", "before")])
async def test_an_answer_after_the_callers_patience(
    caller: Caller, impatient: Caller, trouble: str, stage: str
) -> None:
    await caller.fault(trouble=trouble, stage=stage, delay=0.6)
    with pytest.raises(TimeoutError):
        await impatient.create(dossier())
    await effects_become(caller, 1)


async def test_a_slow_answer_comes(caller: Caller) -> None:
    await caller.fault(trouble="slow", delay=0.3)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await caller.create(dossier())).code == "0"
    assert loop.time() - began >= 0.3


@pytest.mark.parametrize(("stage", "number"), [("before", 0), ("after", 1)])
async def test_a_dropped_connection(caller: Caller, stage: str, number: int) -> None:
    await caller.fault(trouble="drop", stage=stage)
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.create(dossier())
    assert await effects(caller) == number


async def test_a_late_effect_comes_after_the_connection_is_closed(caller: Caller) -> None:
    await caller.create(dossier())
    await caller.fault(trouble="late_effect", operation="steps", delay=0.5)
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.append(step())
    assert await effects(caller) == 1
    await effects_become(caller, 2)
    held = await caller.held(CODE)
    assert held is not None
    calls = (await caller.control("GET", "/_truth/calls"))["calls"]
    assert held["steps"][0]["call"] == calls[-1]["call"]
    assert (calls[-1]["verdict"], calls[-1]["effects"]) == ("done", 1)


async def test_a_late_effect_comes_although_the_session_has_ended_meanwhile(caller: Caller) -> None:
    await caller.fault(trouble="late_effect", operation="create", delay=0.3)
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.create(dossier())
    await caller.fault(trouble="expired_session")
    await caller.look_up(CODE)
    await effects_become(caller, 1)


async def test_what_came_late_and_who_could_see_it(caller: Caller) -> None:
    await caller.create(dossier())
    for operation in ("update", "steps"):
        await caller.fault(
            trouble="late_effect", operation=operation, delay=0.5, label=f"late/{operation}"
        )
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.update(dossier(TrangThaiHoSo="4"))
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.append(step())
    await caller.update(dossier(TrangThaiHoSo="5"))
    await caller.append(step())
    await effects_become(caller, 5)
    assert (await caller.control("GET", "/_truth/late?bound=30"))["late"] == []
    state, steps = (await caller.control("GET", "/_truth/late?bound=0.4"))["late"]
    assert (state["label"], state["operation"], state["code"]) == ("late/update", "update", CODE)
    assert (state["later_calls"], state["overtaken"], state["effects"]) == (3, 1, 1)
    assert state["shown"] == {"existence": False, "state": True, "steps": True}
    assert state["mended_at"] is None
    assert state["decided_at"] - state["at"] >= 0.5
    assert (steps["overtaken"], steps["doubled"]) == (1, 1)
    assert steps["shown"] == {"existence": False, "state": False, "steps": True}
    await caller.update(dossier(TrangThaiHoSo="5"))
    state, _ = (await caller.control("GET", "/_truth/late?bound=0.4"))["late"]
    assert state["mended_at"] > state["decided_at"]


async def test_an_effect_that_waits_until_it_is_overtaken(caller: Caller) -> None:
    await caller.create(dossier())
    await caller.fault(trouble="late_effect", operation="update", delay=5, overtaken=True)
    early = await caller.control("POST", "/_control/faults", {"trouble": "drop", "overtaken": True})
    assert "overtaken goes with late_effect" in early["errors"][0]["problem"]
    await caller.control("DELETE", "/_control/faults")
    await caller.fault(trouble="late_effect", operation="update", delay=0.5, overtaken=True)
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.update(dossier(TrangThaiHoSo="4"))
    await caller.update(dossier(TrangThaiHoSo="4"))  # the same: nothing to overtake
    await asyncio.sleep(0.7)
    assert await effects(caller) == 2
    await caller.update(dossier(TrangThaiHoSo="5"))
    await effects_become(caller, 4)
    held = await caller.held(CODE)
    assert held is not None
    assert held["status"] == "4"


async def test_a_late_creation_of_what_is_there_already_changes_nothing(caller: Caller) -> None:
    await caller.fault(trouble="late_effect", operation="create", delay=0.4)
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.create(dossier())
    await caller.create(dossier(TrangThaiHoSo="4"))
    async with asyncio.timeout(10):
        while not (late := (await caller.control("GET", "/_truth/late?bound=0.3"))["late"]):
            await asyncio.sleep(0.02)
    assert (late[0]["verdict"], late[0]["effects"], late[0]["overtaken"]) == ("exists", 0, 1)
    assert not any(late[0]["shown"].values())


async def test_an_answer_in_drops_outlasts_the_callers_patience(
    caller: Caller, impatient: Caller
) -> None:
    await caller.fault(trouble="slow_drip", delay=30)
    with pytest.raises(TimeoutError):
        await impatient.create(dossier())
    assert await effects(caller) == 1


async def test_an_answer_in_drops_is_whole(caller: Caller) -> None:
    await caller.fault(trouble="slow_drip", delay=0.2)
    assert (await caller.create(dossier())).code == "0"


@pytest.mark.parametrize(("stage", "number"), [("before", 0), ("after", 1)])
async def test_a_reset_in_the_middle_of_the_answer(caller: Caller, stage: str, number: int) -> None:
    await caller.fault(trouble="reset", stage=stage)
    with pytest.raises(aiohttp.ClientPayloadError):
        await caller.create(dossier())
    assert await effects(caller) == number


@pytest.mark.parametrize(("atomic", "kept"), [(False, 2), (True, 0)])
async def test_a_partly_applied_chunk(caller: Caller, atomic: bool, kept: int) -> None:
    await caller.profile(chunk_atomic=atomic)
    await caller.create(dossier())
    await caller.fault(trouble="partial_chunk", operation="CapNhatTienDoHoSoMC", k=2)
    answer = await caller.append(*(step(NoiDungXuLy=f"Bước {n}") for n in range(4)))
    assert answer.code == "-9"
    held = await caller.held(CODE)
    assert held is not None
    assert [each["text"] for each in held["steps"]] == [f"Bước {n}" for n in range(kept)]


async def test_refused_connections_then_the_same_port_again(caller: Caller) -> None:
    address = caller.portal.url
    await caller.fault(trouble="refuse", seconds=0.5)
    with pytest.raises(aiohttp.ClientConnectionError):  # a kept-alive connection is closed too
        await caller.create(dossier())
    with pytest.raises(aiohttp.ClientConnectorError):
        await caller.create(dossier())
    async with asyncio.timeout(10):
        while True:
            try:
                await caller.look_up(CODE)
                break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)
    assert caller.portal.url == address
    assert await effects(caller) == 0


async def test_a_call_under_way_is_answered_although_new_ones_are_refused(caller: Caller) -> None:
    await caller.fault(trouble="slow", delay=0.5)
    under_way = asyncio.create_task(caller.create(dossier()))
    async with asyncio.timeout(10):
        while not (await caller.summary())["troubles"]:
            await asyncio.sleep(0.02)
    await caller.fault(trouble="refuse", seconds=600)
    with pytest.raises(aiohttp.ClientConnectorError):
        await caller.look_up(CODE)
    assert (await under_way).code == "0"


async def test_ending_the_faults_ends_the_refusal(caller: Caller) -> None:
    await caller.fault(trouble="refuse", seconds=600)
    await caller.fault(trouble="refuse", seconds=600)  # again, and longer
    await caller.control("DELETE", "/_control/faults")
    assert (await caller.create(dossier())).code == "0"


async def test_a_connection_that_does_not_come_about(caller: Caller, impatient: Caller) -> None:
    await caller.fault(trouble="connect_timeout", seconds=600)
    with pytest.raises(TimeoutError):
        await impatient.create(dossier())
    await caller.control("DELETE", "/_control/faults")
    assert (await caller.create(dossier())).code == "0"


async def test_ending_the_faults_closes_no_connection(caller: Caller) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", caller.portal.port)
    await caller.control("DELETE", "/_control/faults")
    writer.write(b"GET /portal?wsdl HTTP/1.1\r\nHost: portal\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize("trouble", ["tls_expired", "tls_unknown_ca"])
async def test_a_bad_certificate(tmp_path: Path, trouble: str) -> None:
    async with PortalSimulator(tmp_path / "truth.sqlite", tls=tmp_path / "tls") as portal:
        assert portal.url.startswith("https:")
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=portal.ca))
        async with aiohttp.ClientSession(connector=connector) as http:
            caller = Caller(portal, http)
            await caller.log_in()
            await caller.fault(trouble=trouble, seconds=600)
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await caller.look_up(CODE)
            await caller.control("DELETE", "/_control/faults")
            assert (await caller.look_up(CODE)).code == "0"


async def test_a_bad_certificate_needs_tls(caller: Caller) -> None:
    answer = await caller.control("POST", "/_control/faults", {"trouble": "tls_expired"})
    assert "started with --tls" in answer["errors"][0]["problem"]
    assert (await caller.create(dossier())).code == "0"


async def test_every_trouble_has_been_tried_here() -> None:
    tried = {each[0] for each in ANSWERED} | {
        "reset",
        "slow_drip",
        "stale_look_up",
        "connect_timeout",
        "tls_expired",
        "tls_unknown_ca",
        "no_answer",
        "late_answer",
        "slow",
        "drop",
        "late_effect",
        "partial_chunk",
        "refuse",
    }
    assert tried == set(TROUBLES)


# --- when a trouble strikes ------------------------------------------------------------------------


async def verdicts(caller: Caller, *codes: str) -> list[str | None]:
    return [(await caller.create(dossier(code))).code for code in codes]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, ["-9", "0", "0", "0"]),
        ({"times": 2}, ["-9", "-9", "0", "0"]),
        ({"nth": 3}, ["0", "0", "-9", "0"]),
        ({"every": 2}, ["0", "-9", "0", "-9"]),
        ({"every": 2, "times": 1}, ["0", "-9", "0", "0"]),
        ({"dossier": "B"}, ["0", "-9", "0", "0"]),
        ({"seconds": 600}, ["-9", "-9", "-9", "-9"]),
        ({"operation": "update"}, ["0", "0", "0", "0"]),
        ({"operation": "write"}, ["-9", "0", "0", "0"]),
        ({"operation": "DongBoHoSoMC", "nth": 2}, ["0", "-9", "0", "0"]),
    ],
)
async def test_when_a_trouble_strikes(
    caller: Caller, rule: dict[str, Any], expected: list[str]
) -> None:
    await caller.fault(trouble="business_error", **rule)
    assert await verdicts(caller, "A", "B", "C", "D") == expected


async def test_a_script_gives_each_dossier_its_own_trouble(caller: Caller) -> None:
    script = {
        "A": [{"trouble": "business_error", "operation": "create", "label": "first"}],
        "B": [
            {"trouble": "expired_session", "operation": "update"},
            {"trouble": "already_exists", "operation": "create", "times": 2},
        ],
    }
    answer = await caller.control("POST", "/_control/script", script)
    assert answer == {"numbers": [1, 2, 3]}
    assert await verdicts(caller, "A", "B", "C", "B", "B", "A") == ["-9", "-3", "0", "-3", "0", "0"]
    calls = (await caller.control("GET", "/_truth/calls"))["calls"][1:]
    assert [each["fault"] for each in calls] == [1, 3, None, 3, None, None]
    assert [each["label"] for each in calls] == ["first", None, None, None, None, None]
    assert (await caller.update(dossier("B"))).code == "-1"
    assert (await caller.control("GET", "/_control/faults"))["faults"] == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"A": [{"trouble": "refuse"}]}, "A: refuse meets every caller"),
        ({"A": [{"trouble": "drop", "dossier": "B"}]}, "A: a rule for the dossier B"),
        ({"A": [{"trouble": "stale_look_up", "operation": "steps"}]}, "look-ups only"),
        ({"A": [{"trouble": "drop", "code": "3"}]}, "code and text go with"),
        ({"A": {"trouble": "drop"}}, ""),
    ],
)
async def test_what_is_wrong_with_a_script_is_named(
    caller: Caller, script: dict[str, Any], said: str
) -> None:
    answer = await caller.control("POST", "/_control/script", script)
    assert answer["status"] == 400
    assert said in answer["errors"][0]["problem"]
    assert (await caller.control("GET", "/_control/faults"))["faults"] == []


async def test_a_trouble_of_some_seconds_ends_by_itself(caller: Caller) -> None:
    await caller.fault(trouble="business_error", seconds=0.3)
    assert (await caller.look_up(CODE)).code == "-9"
    async with asyncio.timeout(10):
        while (await caller.look_up(CODE)).code != "0":
            await asyncio.sleep(0.02)
    assert (await caller.control("GET", "/_control/faults"))["faults"] == []

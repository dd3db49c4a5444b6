"""The same simulator serves another contract by its description alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.national_portal.simulator import PortalSimulator, Profile
from connectors.national_portal.simulator.contract import ContractError, load_contract
from tests.unit.national_portal_simulator.soap_calls import Caller

FIXTURES = Path(__file__).parents[2] / "fixtures" / "national_portal"


@pytest.fixture
async def alternate(tmp_path: Path) -> AsyncIterator[Caller]:
    async with (
        PortalSimulator(
            tmp_path / "truth.sqlite",
            contract=FIXTURES / "alternate" / "contract.toml",
            profile=Profile(lookup="steps"),
        ) as portal,
        aiohttp.ClientSession() as http,
    ):
        caller = Caller(portal, http)
        answer = await caller.call("OpenSession", {"account": "thongsuot", "secret": "thongsuot"})
        assert answer.text("outcome.status") == "OK"
        caller.session = answer.text("ticket") or ""
        yield caller


def put(caller: Caller, action: str, status: str) -> dict[str, Any]:
    return {
        "token": caller.session,
        "action": action,
        "dossier": {
            "header": {
                "code": "A-1",
                "procedure": {"code": "1.000028", "name": "Thủ tục"},
                "applicant": {"kind": "1", "verified": "true"},
                "summary": "Đề nghị",
                "agency": "Sở Xây dựng",
            },
            "progress": {"status": status, "received": "2026-11-23T08:00:00", "returnMode": "0"},
            "components": {"component": [{"fileName": "a.pdf"}, {"fileName": "b.pdf"}]},
            "databases": {"database": [{"code": "1"}]},
        },
    }


def progress(caller: Caller, code: str) -> dict[str, Any]:
    steps = [
        {"time": f"2026-11-23T08:0{n}:00", "officer": "Lê", "status": "4", "content": f"Bước {n}"}
        for n in range(2)
    ]
    return {"token": caller.session, "dossierCode": code, "steps": {"step": steps}}


async def test_a_dossier_through_the_other_contract(alternate: Caller) -> None:
    outcomes = []
    for operation, fields in (
        ("PutDossier", put(alternate, "replace", "2")),
        ("PutDossier", put(alternate, "create", "2")),
        ("PutDossier", put(alternate, "create", "2")),
        ("PutDossier", put(alternate, "replace", "4")),
        ("AppendProgress", progress(alternate, "A-1")),
        ("AppendProgress", progress(alternate, "A-2")),
    ):
        outcomes.append((await alternate.call(operation, fields)).text("outcome.status"))
    assert outcomes == ["NOT_FOUND", "OK", "DUPLICATE", "OK", "OK", "NOT_FOUND"]

    held = await alternate.held("A-1")
    assert held is not None
    assert (held["status"], held["components"]) == ("4", 2)
    assert held["received"] == "2026-11-23T08:00:00+07:00"
    assert [each["text"] for each in held["steps"]] == ["Bước 0", "Bước 1"]

    answer = await alternate.call("FindDossier", {"token": alternate.session, "dossierCode": "A-1"})
    assert answer.text("found.state.received") == "2026-11-23T08:00:00"
    assert answer.text("found.state.components") == "2"
    contents = [each.text for each in answer.wrapper.iter("{*}content")]
    assert contents == ["Bước 0", "Bước 1"]
    absent = await alternate.call("FindDossier", {"token": alternate.session, "dossierCode": "A-2"})
    assert absent.text("outcome.status") == "OK"
    assert absent.text("found.code") is None


async def test_its_schema_is_its_own(alternate: Caller) -> None:
    fields = put(alternate, "create", "2")
    fields["dossier"]["progress"]["received"] = "20261123080000"
    answer = await alternate.call("PutDossier", fields)
    assert answer.status == 500
    assert "received" in (answer.fault or "")


async def test_its_session_and_catalogues(alternate: Caller) -> None:
    wrong = await alternate.call("OpenSession", {"account": "thongsuot", "secret": "x"})
    assert wrong.text("outcome.status") == "LOGIN"
    listed = await alternate.call("ListProcedures", {"token": alternate.session})
    assert len(list(listed.wrapper.iter("{*}procedure"))) == 40
    detail = await alternate.call("GetProcedure", {"token": alternate.session, "code": "1.000028"})
    assert detail.text("procedure.field.code") == "G04-GT02"
    ended = await alternate.call("ListAgencies", {"token": "made-up"})
    assert ended.text("outcome.status") == "TOKEN"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('wsdl = "portal.wsdl"', 'wsdl = "none.wsdl"'), "none.wsdl"),
        (('shared_code = "dossierCode"', 'code = "a"\nshared_code = "b"'), "either code"),
        (('element = "FindDossier"', ""), "look_up"),
        (("[steps]", "[steps"), "contract"),
    ],
)
def test_a_description_that_does_not_hold(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    text = (FIXTURES / "alternate" / "contract.toml").read_text(encoding="utf-8")
    assert change[0] in text
    path = tmp_path / "contract.toml"
    (tmp_path / "portal.wsdl").write_text("<a/>")
    path.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ContractError, match=said):
        load_contract(path)

"""The control API: what the README tells is what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import connectors.national_portal.simulator as simulator
from connectors.national_portal.simulator import PortalSimulator, Profile
from connectors.national_portal.simulator.control import Control
from connectors.national_portal.simulator.troubles import TROUBLES, Rule
from tests.unit.national_portal_simulator.soap_calls import Caller, dossier, step

README = (Path(simulator.__file__).parent / "README.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head; code marks removed."""
    _, _, rest = README.partition(f"## {heading}\n")
    lines = rest.partition("\n## ")[0].splitlines()
    rows = [line for line in lines if line.startswith("|")][2:]
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]


async def test_the_readme_lists_every_route(portal: PortalSimulator) -> None:
    routes = [f"{method} {path}" for method, path, _ in Control(portal).routes]
    assert [row[0] for row in table("The control API")] == routes
    for route in routes:
        assert route.split()[1] in re.sub(r"^\|.*$", "", README, flags=re.MULTILINE), route


def test_the_readme_lists_every_trouble() -> None:
    rows = {row[0]: row for row in table("Troubles")}
    assert list(rows) == list(TROUBLES)
    for name, trouble in TROUBLES.items():
        assert rows[name][1] == ", ".join(trouble.stages)
        assert rows[name][2] == (f"{trouble.delay:g}" if trouble.delay else "")


@pytest.mark.parametrize(
    ("heading", "model"), [("Rules of a fault", Rule), ("The profile", Profile)]
)
def test_the_readme_lists_every_field(heading: str, model: Any) -> None:
    assert [row[0] for row in table(heading)] == list(model.model_fields)


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("/_control/faults", {"trouble": "earthquake"}, "trouble: one of"),
        ("/_control/faults", {"trouble": "refuse", "nth": 2}, "refuse takes seconds only"),
        ("/_control/faults", {"trouble": "late_effect", "stage": "before"}, "stage"),
        ("/_control/faults", {"trouble": "drop", "nth": 1, "every": 2}, "exclude"),
        ("/_control/faults", {"trouble": "drop", "dossiers": "A"}, "Extra inputs"),
        ("/_control/profile", {"lookup": "everything"}, "existence"),
        ("/_control/profile", [], "object"),
        ("/_control/dossiers", {}, "list"),
        ("/_control/dossiers", [{"TrangThaiHoSo": "1"}], "code or MaHoSo"),
        ("/_control/dossiers", [{"MaHoSo": "A", "NgayTiepNhan": "soon"}], "NgayTiepNhan"),
        ("/_control/dossiers", [{"MaHoSo": "A"}, {"MaHoSo": "A"}], "there already"),
        ("/_control/catalogue", {"procedures": [{"code": 1}]}, "string"),
    ],
)
async def test_what_is_wrong_is_named(caller: Caller, path: str, content: Any, said: str) -> None:
    answer = await caller.control("POST", path, content)
    assert answer["status"] == 400
    assert said in " ".join(each["problem"] for each in answer["errors"])
    assert (await caller.summary())["dossiers"] == {}


async def test_a_dossier_born_on_the_portal_is_no_effect_until_it_changes(caller: Caller) -> None:
    born = dossier(TrangThaiHoSo="1", NgayTiepNhan=None)
    await caller.control("POST", "/_control/dossiers", [born, {"code": "B"}])
    summary = await caller.summary()
    assert (summary["births"], summary["effects"]) == (2, 0)
    assert (await caller.create(born)).code == "-3"
    assert (await caller.update(born)).code == "0"
    assert (await caller.summary())["effects"] == 0
    await caller.update(dossier())
    held = await caller.held("H12.01-261123-0001")
    assert held is not None
    assert held["origin"] == "portal"
    assert [each["kind"] for each in held["versions"]] == ["birth", "change"]
    assert (await caller.append(step("B"))).code == "0"


async def test_pages(caller: Caller) -> None:
    for code in ("C", "A", "B"):
        await caller.create(dossier(code))
    first = await caller.control("GET", "/_truth/dossiers?limit=2&fields=0")
    assert [each["code"] for each in first["dossiers"]] == ["A", "B"]
    assert "fields" not in first["dossiers"][0]
    rest = await caller.control("GET", f"/_truth/dossiers?limit=2&after={first['next']}")
    assert [each["code"] for each in rest["dossiers"]] == ["C"]
    assert rest["next"] is None
    calls = await caller.control("GET", "/_truth/calls?limit=3")
    assert [each["codes"] for each in calls["calls"]] == [[], ["C"], ["A"]]
    calls = await caller.control("GET", f"/_truth/calls?after={calls['next']}")
    assert [each["codes"] for each in calls["calls"]] == [["B"]]


async def test_reset_is_a_new_beginning(caller: Caller) -> None:
    await caller.create(dossier())
    await caller.profile(lookup="steps", steps_dedup=True)
    await caller.fault(trouble="fault_500", every=1)
    await caller.control("POST", "/_control/catalogue", {"agencies": []})
    summary = await caller.control("POST", "/_control/reset")
    assert summary["dossiers"] == summary["calls"] == {}
    assert (await caller.look_up("A")).code == "-1"  # sessions are gone
    await caller.log_in()
    assert (await caller.control("GET", "/_control/profile"))["lookup"] == "existence"
    assert len((await caller.catalogue("LayDanhSachTTHC")).items) == 40
    assert (await caller.create(dossier())).code == "0"
    held = await caller.held("H12.01-261123-0001")
    assert held is not None
    assert held["versions"][0]["effect"] == 1


async def test_a_catalogue_of_ones_own(caller: Caller) -> None:
    catalogue = {
        "procedures": [{"code": "9.000001", "name": "Thủ tục thử"}],
        "agencies": [{"code": "H12.01", "name": "Sở thử", "level": "2"}],
    }
    await caller.control("POST", "/_control/catalogue", catalogue)
    listed = (await caller.catalogue("LayDanhSachTTHC")).items
    assert listed == [{"MATTHC": "9.000001", "TENTTHC": "Thủ tục thử"}]
    agencies = (await caller.catalogue("LayDanhMucCoQuan")).items
    assert agencies == [{"MADONVI": "H12.01", "TENDONVI": "Sở thử", "CAPDONVI": "2"}]


async def test_the_password_can_be_changed_and_is_not_shown(caller: Caller) -> None:
    await caller.profile(password="another")
    assert (await caller.log_in()).code == "-2"
    assert (await caller.log_in(password="another")).code == "0"
    assert "password" not in await caller.control("GET", "/_control/profile")

"""The built wheel: our four packages with their data, under their own names, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"connectors", "monitoring", "schemas", "streams"}


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """What lies in the four packages, listed before the wheel is built."""
    return [
        file.relative_to(ROOT)
        for package in sorted(PACKAGES)
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]


@pytest.fixture(scope="module")
def wheel(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the locked hatchling without any download."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_four_packages_are_ours_where_the_wheel_is_installed(
    wheel: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--disable-pip-version-check", "--target", str(site), str(wheel)),
        ],
        check=True,
        capture_output=True,
    )
    # Without the folder of this repository on the path (an editable install puts it there), and with
    # the libraries behind ours, so that a stranger's `schemas` would be seen.
    script = (
        "import importlib, importlib.metadata as metadata, json, sys\n"
        f"sys.path[:] = [{str(site)!r}, *(p for p in sys.path if p != {str(ROOT)!r})]\n"
        "owners = metadata.packages_distributions()\n"
        "files = {name: importlib.import_module(name).__file__ for name in "
        f"{sorted(PACKAGES)!r}}}\n"
        f"print(json.dumps([{{name: owners[name] for name in {sorted(PACKAGES)!r}}}, files]))\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=elsewhere,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        check=True,
        capture_output=True,
        text=True,
    )
    owners, files = json.loads(done.stdout)
    assert {name: set(owner) for name, owner in owners.items()} == {
        name: {"thongsuot"} for name in PACKAGES
    }
    assert all(file.startswith(str(site)) for file in files.values())


def test_only_our_packages_are_in_it_and_no_test(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    for name in names:
        parts = Path(name).parts
        assert "tests" not in parts, name
        assert not name.endswith((".pyc", ".db", ".env", ".lock")), name


def test_every_module_and_every_data_file_travels(names: set[str], files: list[Path]) -> None:
    left_out = {"grafana", "prometheus", "runbooks"}
    assert len(files) > 20
    for file in files:
        for_operators = file.parts[0] == "monitoring" and file.parts[1] in left_out
        assert (file.as_posix() in names) is not for_operators, file


@pytest.mark.parametrize(
    "kind",
    [
        "schemas/avro/*/v1.avsc",
        "schemas/ledger/migrations/**/*.py",
        "connectors/national_portal/**/*.wsdl",
        "connectors/national_portal/**/*.xsd",
        "connectors/gov_reporting/**/*.toml",
        "connectors/gov_reporting/**/*.wsdl",
        "connectors/gov_reporting/**/*.json",
    ],
)
def test_the_kinds_of_data_that_the_hub_reads_are_there(names: set[str], kind: str) -> None:
    expected = {file.relative_to(ROOT).as_posix() for file in ROOT.glob(kind)}
    assert expected
    assert expected <= names


def test_each_package_is_typed_and_the_command_is_declared(wheel: Path, names: set[str]) -> None:
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = (name for name in names if name.endswith("/entry_points.txt"))
    assert "thongsuot = streams.cli:main" in archive.read(entry_points).decode()
    (metadata,) = (name for name in names if name.endswith("/METADATA"))
    said = archive.read(metadata).decode()
    assert "Classifier: Private :: Do Not Upload" in said
    assert "License-Expression: Apache-2.0" in said
    assert any(name.endswith("/licenses/LICENSE") for name in names)

"""The root files keep their promises: the lock file, the ignored files, the import rule, the commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pathspec import GitIgnoreSpec

ROOT = Path(__file__).resolve().parents[2]


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def locked() -> dict[str, tuple[str, list[str]]]:
    """Requirement name -> version and hashes, as the lock file has them."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pinned = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", line)
        assert pinned, line[:80]
        hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}(?!\S)", line)
        found[canonicalize_name(pinned[1])] = (pinned[2], hashes)
    return found


def test_the_lock_file_names_no_registry_host() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|--trusted-host|@ ", text)


def test_every_locked_requirement_has_a_version_and_hashes() -> None:
    requirements = locked()
    assert len(requirements) > 60
    for name, (version, hashes) in requirements.items():
        assert version, name
        assert hashes, name


def test_everything_the_project_asks_for_is_locked_in_a_version_it_accepts() -> None:
    asked = project()
    requirements = locked()
    for text in (*asked["project"]["dependencies"], *asked["dependency-groups"]["dev"]):
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        assert name in requirements, f"{text}: run make lock"
        assert requirement.specifier.contains(requirements[name][0]), f"{text}: run make lock"


def ignored() -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines((ROOT / ".gitignore").read_text().splitlines())


@pytest.mark.parametrize(
    "path",
    [
        ".venv/bin/python",
        "var/demo/hub.db",
        "hub.db-wal",
        ".env",
        "dist/x.whl",
        "a/__pycache__/b.pyc",
    ],
)
def test_what_must_not_be_committed_is_ignored(path: str) -> None:
    assert ignored().match_file(path)


@pytest.mark.parametrize("path", [".env.example", "requirements.lock", "streams/demo/day.py"])
def test_what_belongs_to_the_project_is_not_ignored(path: str) -> None:
    assert not ignored().match_file(path)


def test_the_import_rule_is_kept() -> None:
    contracts = project()["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")
    assert layers["layers"] == ["streams", "connectors", "monitoring", "schemas"]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_alone_lists_the_commands() -> None:
    said = make().stdout
    for command in ("demo", "test", "test-integration", "check", "bench", "lock", "clean"):
        assert re.search(rf"^  make {command} +\S.* / ", said, re.MULTILINE), command


@pytest.mark.parametrize(
    ("script", "remedy"),
    [
        ('case "$*" in *version_info*) exit 1;; esac; echo Python 3.10.1', "Python 3.11 or later"),
        ('case "$*" in *ensurepip*) exit 1;; esac; exit 0', "apt-get install python3-venv"),
    ],
)
def test_a_python_that_will_not_do_is_answered_with_the_remedy(
    script: str, remedy: str, tmp_path: Path
) -> None:
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    environment = tmp_path / "venv"
    done = make(f"PYTHON={python}", f"VENV={environment}", "test")
    assert done.returncode != 0
    assert remedy in done.stdout
    assert not environment.exists()


def test_a_missing_python_is_answered_with_the_remedy(tmp_path: Path) -> None:
    done = make("PYTHON=no-such-python", f"VENV={tmp_path / 'venv'}", "test")
    assert done.returncode != 0
    assert "apt-get install python3 python3-venv" in done.stdout


def test_the_ci_script_is_sound_bash_and_executable() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)

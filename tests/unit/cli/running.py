"""Runs `thongsuot` in this process, as typer's runner does it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.cli import app
from streams.settings import PREFIX
from tests.unit.streams.test_settings import GOOD

NOBODY = "127.0.0.1:9"
"""The discard port: nothing listens there."""


def run(*arguments: str) -> Result:
    """The exit code, `stdout` and `stderr` of the command."""
    return CliRunner(env={"COLUMNS": "400", "TERM": "dumb"}).invoke(app, list(arguments))


def set_environment(patch: pytest.MonkeyPatch, **changes: str) -> None:
    """The smallest good settings with these changes, and no others."""
    clear_environment(patch)
    for name, value in {**GOOD, **changes}.items():
        patch.setenv(PREFIX + name, value)


def clear_environment(patch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(PREFIX):
            patch.delenv(name)


def nothing_running(folder: Path) -> dict[str, str]:
    """Settings of which every counterpart is absent."""
    return {
        "KAFKA__BOOTSTRAP_SERVERS": NOBODY,
        "LEDGER_URL": f"sqlite:///{folder / 'ledger.db'}",
        "ONE_STOP__URL": f"sqlite:///{folder / 'onestop.db'}",
        "NATIONAL_PORTAL__ADDRESS": f"http://{NOBODY}/portal",
        "REGISTRY_URL": f"http://{NOBODY}",
    }

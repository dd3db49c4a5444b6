"""The alert rules, judged by Prometheus's own tool: when they fire, when they are silent."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).parents[3] / "docker" / "prometheus"


@pytest.mark.parametrize("command", ["check rules rules.yml", "test rules rules_test.yml"])
def test_prometheus_s_own_tool_accepts_the_rules_and_their_tests(command: str) -> None:
    ended = subprocess.run(
        ["promtool", *command.split()],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr

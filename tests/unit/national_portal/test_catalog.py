"""Every line of the catalogue leads somewhere."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import BaseModel

import connectors
from connectors.catalog import CATALOG, Direction, Line

FOLDERS = {
    path.name
    for path in Path(next(iter(connectors.__path__))).iterdir()
    if (path / "__init__.py").exists()
}


def test_every_connector_folder_has_its_line() -> None:
    assert {line.name for line in CATALOG} == FOLDERS


@pytest.mark.parametrize("line", CATALOG, ids=lambda line: f"{line.name}-{line.direction}")
def test_a_line_leads_to_class_settings_and_simulator(line: Line) -> None:
    protocol = {
        Direction.SINK: ("target", "create", "update", "append_steps", "look_up", "probe"),
        Direction.SOURCE: ("read_page", "check"),
    }[line.direction]
    assert all(hasattr(line.load(), name) for name in protocol)
    settings = line.load_settings()
    assert issubclass(settings, BaseModel)
    assert settings.model_config.get("frozen")
    assert settings.model_config.get("extra") == "forbid"
    assert find_spec(f"{line.simulator}.__main__") is not None

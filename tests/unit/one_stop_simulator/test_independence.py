"""The simulator is the oracle's source side: it must share no knowledge with the hub."""

from __future__ import annotations

import ast
from pathlib import Path

import connectors.one_stop.simulator as package

OURS = {"connectors", "schemas", "streams", "monitoring"}


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_it_imports_nothing_of_the_hub() -> None:
    files = sorted(Path(next(iter(package.__path__))).rglob("*.py"))
    assert len(files) > 10
    for file in files:
        ours = {
            name
            for name in imported(ast.parse(file.read_text(encoding="utf-8")))
            if name.split(".")[0] in OURS
        }
        foreign = {n for n in ours if not n.startswith("connectors.one_stop.simulator")}
        assert not foreign, f"{file.name} imports {foreign}"

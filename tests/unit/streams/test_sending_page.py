"""The examples of `docs/nop-so-lieu.md`, run as they stand there against a real receiver."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams import receive
from streams.settings import variables
from tests.unit.streams.test_receive import KEY, World, opened

PAGE = (Path(__file__).parents[3] / "docs" / "nop-so-lieu.md").read_text(encoding="utf-8")
PROGRAMS = {"bash": "bash", "python": sys.executable}


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A receiver that goes by the real clock, as the examples do."""
    async with opened(tmp_path, wall=lambda: datetime.now(UTC)) as found:
        yield found


async def ran(language: str, world: World, folder: Path, key: bytes, body: str) -> tuple[int, str]:
    """The exit status of an example, and what it wrote."""
    (folder / "program").write_text(block(language), encoding="utf-8")
    (folder / "eoffice.key").write_text(base64.b64encode(key).decode() + "\n")
    (folder / "list.json").write_text(body, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        PROGRAMS[language], "program", world.url, "eoffice", "eoffice.key", "list.json",
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    told, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, told.decode()


@pytest.mark.parametrize("language", PROGRAMS)
async def test_the_example_hands_the_list_of_the_page_in(
    language: str, world: World, tmp_path: Path
) -> None:
    for new in (["HSCV-2025"], []):
        status, told = await ran(language, world, tmp_path, KEY, block("json"))
        assert status == 0, told
        assert json.loads(told.splitlines()[0]) == {"received": 1, "new": new}
    assert await world.ids() == ["HSCV-2025"]
    assert await world.refused() == []


@pytest.mark.parametrize("language", PROGRAMS)
async def test_the_example_shows_what_is_wrong(language: str, world: World, tmp_path: Path) -> None:
    _, told = await ran(language, world, tmp_path, b"x" * 32, block("json"))
    assert "signature_wrong" in told
    body = block("json").replace('"percent"', '"yes_no"')
    _, told = await ran(language, world, tmp_path, KEY, body)
    assert "wrong_unit" in told
    assert await world.ids() == []


def test_the_page_tells_every_status_and_names_what_there_is() -> None:
    described = json.loads(receive.description())["paths"][receive.PATH]["post"]["responses"]
    answers = PAGE.partition("## Câu trả lời")[2].partition("## ")[0]
    told = set(re.findall(r"\b[2-5]\d\d\b", "\n".join(re.findall(r"^\| ([\d, ]+)", answers, re.M))))
    assert told == {*described, "404"}
    known = {name for name, _ in variables()}
    assert set(re.findall(r"THONGSUOT_[A-Z_]+", PAGE)) <= known

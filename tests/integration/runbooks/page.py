"""A runbook as a test walks it: the blocks marked `sh` of a page, run by bash as they stand.

The first block of a page sets its variables; a walk brings values of its own for exactly these, and runs
everything else. Whoever walks a page must have run all of it: see `Walk.unwalked`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "docs" / "runbooks"
STEP_SECONDS = 150.0

_LINE = re.compile(r"^(?P<marks>#+) (?P<heading>.+)$|^```(?P<kind>\w*)$")
_NUMBER = re.compile(r"(\d+)\. ")
_EXPORT = re.compile(r"^export (\w+)=", re.MULTILINE)


class StepFailed(AssertionError):
    """A command of a page failed; the text has what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block, with the heading it stands under."""

    heading: str
    kind: str
    text: str

    @property
    def step(self) -> int:
        """The number of its heading; 0 where the heading has none."""
        found = _NUMBER.match(self.heading)
        return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One runbook. `variables`: what its first block sets; `blocks`: the other `sh` blocks, in order."""

    name: str
    variables: frozenset[str]
    blocks: Sequence[Block]

    @classmethod
    def read(cls, name: str) -> Page:
        """The page of this name. Raises `ValueError` for one that cannot be walked."""
        return cls.of(name, (FOLDER / f"{name}.md").read_text(encoding="utf-8"))

    @classmethod
    def of(cls, name: str, text: str) -> Page:
        """The page with this text."""
        first, *rest = [block for block in _blocks(text) if block.kind == "sh"]
        if not first.heading.startswith("Điền trước"):
            raise ValueError(f"{name}: the first sh block must set the variables")
        for block in rest:
            if not block.step:
                raise ValueError(f"{name}: the heading {block.heading!r} has no number")
        return cls(name=name, variables=frozenset(_EXPORT.findall(first.text)), blocks=rest)


class Walk:
    """One walk through a page. `environment` is what the operator's shell has besides the variables."""

    def __init__(
        self, page: Page, variables: Mapping[str, str], environment: Mapping[str, str]
    ) -> None:
        assert set(variables) == page.variables, (
            f"{page.name} sets {sorted(page.variables)}, the walk {sorted(variables)}"
        )
        self._page = page
        self._environment = {**environment, **variables}
        self._walked: set[Block] = set()

    async def step(self, number: int) -> str:
        """Run every block of this step, one after the other. Returns what they said. Raises `StepFailed`."""
        blocks = [block for block in self._page.blocks if block.step == number]
        assert blocks, f"{self._page.name} has no commands under {number}"
        return "".join([await self._run(block) for block in blocks])

    async def steps(self, first: int, last: int) -> None:
        """Run these steps, both ends included; what has no commands is passed over."""
        for number in sorted({b.step for b in self._page.blocks if first <= b.step <= last}):
            await self.step(number)

    @property
    def unwalked(self) -> Sequence[str]:
        """The headings under which commands have not been run."""
        return [block.heading for block in self._page.blocks if block not in self._walked]

    async def _run(self, block: Block) -> str:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", block.text),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, erred = await asyncio.wait_for(process.communicate(), STEP_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise StepFailed(
                f"{self._page.name}, {block.heading}: status {process.returncode}\n"
                f"{said.decode()}\n{erred.decode()}"
            )
        self._walked.add(block)
        return said.decode()


def _blocks(text: str) -> Sequence[Block]:
    found: list[Block] = []
    heading = kind = ""
    lines: list[str] | None = None
    for line in text.splitlines():
        match = _LINE.match(line)
        if lines is not None:
            if line == "```":
                found.append(Block(heading=heading, kind=kind, text="\n".join(lines) + "\n"))
                lines = None
            else:
                lines.append(line)
        elif match is not None and match["marks"]:
            heading = match["heading"]
        elif match is not None:
            kind, lines = match["kind"], []
    return found

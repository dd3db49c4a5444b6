"""The walker itself: what it takes from a page, and that a failing or forgotten command shows."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.integration.runbooks.page import FOLDER, Page, StepFailed, Walk

PAGE = """\
# A page

## Điền trước · fill in first

```sh
export NAME="one"   # a comment
```

## Steps

### 1. First

```sh
echo "$NAME"
```

```text
never run
```

### 2. Second

```sh
test "$NAME" = two
# Not a heading
```
"""


def walk(**variables: str) -> Walk:
    return Walk(Page.of("page", PAGE), variables, dict(os.environ))


async def test_commands_run_as_they_stand_with_the_walk_s_variables() -> None:
    walked = walk(NAME="two")
    assert await walked.step(1) == "two\n"
    assert walked.unwalked == ["2. Second"]
    await walked.step(2)
    assert walked.unwalked == []


async def test_a_failing_command_fails_the_walk() -> None:
    with pytest.raises(StepFailed, match=r"2\. Second"):
        await walk(NAME="three").step(2)


def test_a_walk_must_set_what_the_page_sets() -> None:
    with pytest.raises(AssertionError, match="NAME"):
        walk(OTHER="x")


def test_a_page_whose_commands_cannot_be_named_is_refused() -> None:
    with pytest.raises(ValueError, match="Steps"):
        Page.of("page", PAGE.replace("### 1. First\n", ""))
    with pytest.raises(ValueError, match="variables"):
        Page.of("page", PAGE.replace("Điền trước", "Trước"))


@pytest.mark.parametrize("name", sorted(p.stem for p in FOLDER.glob("*.md") if p.stem != "README"))
def test_every_page_can_be_walked_and_says_how_to_get_back(name: str) -> None:
    page = Page.read(name)
    assert page.blocks
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    for heading in ("Khi nào dùng", "Điều gì có thể hỏng", "Biết là đã xong", "Quay lại"):
        assert heading in text, f"{name}.md: {heading}"
    for variable in page.variables:
        assert any(f"${variable}" in b.text or f"${{{variable}" in b.text for b in page.blocks)


_COUNTED = re.compile(
    r"(cả|đủ) (hai|ba|bốn|năm|sáu|bảy|tám|chín|mười|\d+) dòng"
    r"|\b(two|three|four|five|six|seven|eight|nine|ten|\d+) lines\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("page", [pytest.param(p, id=p.name) for p in sorted(FOLDER.glob("*.md"))])
def test_no_page_counts_the_lines_of_an_answer(page: Path) -> None:
    """`thongsuot check` has a line for every counterpart: how many differs from one place to the next."""
    found = _COUNTED.search(page.read_text(encoding="utf-8"))
    assert found is None, found


@pytest.mark.parametrize("words", ["✔ cả năm dòng", "All five lines", "5 lines"])
def test_a_count_of_lines_would_show(words: str) -> None:
    assert _COUNTED.search(words)

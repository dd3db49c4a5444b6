"""The front door tells the truth: paths, commands, options, settings and the picture are what stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer

from schemas.reasons import Reason
from schemas.topics import INDICATOR_OBSERVATIONS, REPORT_PACKETS, TOPICS
from streams.cli import app
from streams.settings import PREFIX

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.vi.md")
ROOT_PAGES = (*READMES, "CONTRIBUTING.md", "CHANGELOG.md")
DEMO = "streams/demo/README.md"
PICTURE = "docs/way-of-a-dossier.svg"
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for folder in (".", "docs", "connectors", "monitoring", "schemas", "streams", "tests")
    for page in (ROOT.glob("*.md") if folder == "." else (ROOT / folder).rglob("*.md"))
)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def fences(page: str) -> list[str]:
    """The lines of all fenced blocks, without comments."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", read(page), re.MULTILINE | re.DOTALL)
    lines = [
        re.sub(r"(^|\s)#\s.*", "", line).strip() for block in blocks for line in block.split("\n")
    ]
    return [line for line in lines if line]


def spans(page: str) -> list[str]:
    """What stands between single backticks outside fenced blocks."""
    prose = re.sub(r"^```.*?^```", "", read(page), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def paths(page: str) -> set[str]:
    """Names between backticks that are meant as paths from the root of the repository."""
    return {
        span
        for span in spans(page)
        if re.fullmatch(r"\.?[\w.-]+(/[\w.-]*)+", span)
        or re.fullmatch(r"[A-Za-z.]+\.(py|md|toml|lock|example)", span)
    }


def links(page: str) -> set[str]:
    return {
        target.partition("#")[0]
        for target in re.findall(r"\]\(([^)\s]+)\)", read(page))
        if not re.match(r"[a-z]+:|#", target)
    }


def make_targets() -> set[str]:
    phony = re.search(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)
    assert phony
    return set(phony[1].split())


def thongsuot_calls(page: str) -> Iterator[list[str]]:
    """The arguments of every `thongsuot …` on the page."""
    for text in (*fences(page), *spans(page)):
        for found in re.finditer(r"(?:^|[\s/])thongsuot((?: [^\s`|\"']+)*)(?![^\s`|]*[\"'])", text):
            yield shlex.split(found[1])


def command(arguments: list[str]) -> tuple[Any, list[str]]:
    """The command that these arguments lead to, and what is left of them."""
    here: Any = typer.main.get_command(app)
    left = list(arguments)
    while left and hasattr(here, "commands") and not left[0].startswith("-"):
        name = left.pop(0)
        assert name in here.commands, f"thongsuot has no {name!r}: {arguments}"
        here = here.commands[name]
    return here, left


def options_of(found: Any) -> set[str]:
    return {option for one in found.params for option in (*one.opts, *one.secondary_opts)}


NO_PATHS = {
    *("/metrics", "/live", "/ready"),  # addresses of the worker
    *("faults.py", "wsdl/", "utils.py"),  # what a connector's folder may hold, and what nobody may
    ".env",  # the operator makes it
}


@pytest.mark.parametrize("page", ROOT_PAGES)
def test_every_path_named_is_there(page: str) -> None:
    named = paths(page) - NO_PATHS
    assert {path for path in named if not (ROOT / path).exists()} == set()
    if page in READMES:
        assert len(named) > 20


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    here = (ROOT / page).parent
    assert {link for link in links(page) if not (here / link).exists()} == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_named_is_there(page: str) -> None:
    named = {
        found[1]
        for text in (*fences(page), *spans(page))
        for found in re.finditer(r"(?:^|\s)make ([a-z-]+)", text)
    }
    assert named <= make_targets()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_named_is_there(page: str) -> None:
    for arguments in thongsuot_calls(page):
        found, left = command(arguments)
        if "--" in left:  # what follows is the simulator's own
            left = left[: left.index("--")]
        named = {option.partition("=")[0] for option in left if option.startswith("--")}
        assert named - {"--help"} <= options_of(found), arguments


@pytest.mark.parametrize("readme", READMES)
def test_the_readmes_name_the_commands_of_a_first_hour(readme: str) -> None:
    lines = fences(readme)
    for target in ("demo", "test", "check", "test-integration", "torture", "bench", "bench-peak"):
        assert f"make {target}" in lines
    called = [" ".join(arguments) for arguments in thongsuot_calls(readme)]
    for name in ("keys", "db upgrade", "topics create", "check", "worker", "trace CODE"):
        assert name in called


def test_both_readmes_name_the_same_commands_paths_links_and_settings() -> None:
    english, vietnamese = READMES
    assert fences(english) == fences(vietnamese)
    assert paths(english) == paths(vietnamese)
    assert links(english) - {vietnamese} == links(vietnamese) - {english}
    assert settings_named(english) == settings_named(vietnamese)
    assert read(english).count("\n## ") == read(vietnamese).count("\n## ")


def settings_named(page: str) -> set[str]:
    return set(re.findall(rf"{PREFIX}\w+", read(page)))


@pytest.mark.parametrize("page", ROOT_PAGES)
def test_every_setting_named_is_in_the_example(page: str) -> None:
    assert settings_named(page) <= settings_named(".env.example")


@pytest.mark.parametrize("readme", READMES)
def test_the_readmes_state_the_measured_ratios(readme: str) -> None:
    text = read(readme)
    assert text.count("<!-- bench -->") == text.count("<!-- /bench -->") == 1
    figures = text[text.index("<!-- bench -->") : text.index("<!-- /bench -->")]
    assert "make bench" in figures
    assert len(re.findall(r"\d[.,]\d\d ×", figures)) >= 4


def test_both_readmes_state_the_same_figures() -> None:
    def figures(readme: str) -> list[str]:
        text = read(readme)
        block = text[text.index("<!-- bench -->") : text.index("<!-- /bench -->")]
        return re.findall(r"\d+", block.replace(",", "").replace(".", ""))

    assert figures("README.md") == figures("README.vi.md")


@pytest.mark.parametrize("page", PAGES)
def test_nobody_promises_what_no_network_gives(page: str) -> None:
    assert not re.search(r"exactly[ -]once|đúng một lần duy nhất", read(page), re.IGNORECASE)


# --- the demo's page -----------------------------------------------------------------------------------


def test_the_demos_page_lists_its_options_with_their_defaults() -> None:
    demo = command(["demo"])[0]
    listed = dict(re.findall(r"^\| `(--[a-z-]+)` \|([^|]*)\|", read(DEMO), re.MULTILINE))
    flags = {option for option in options_of(demo) if option != "--help"} - {"--troubles"}
    assert set(listed) == flags
    for option in ("--dossiers", "--seconds", "--seed", "--profile"):
        default = next(one.default for one in demo.params if option in one.opts)
        assert listed[option].strip().strip("`") == str(default), option


def test_the_demos_page_names_files_and_reasons_that_are_there() -> None:
    named = [
        span for span in spans(DEMO) if re.fullmatch(r"(streams|connectors)/[\w/]+(\.py)?", span)
    ]
    assert len(named) >= 3
    for path in named:
        assert (ROOT / path).exists(), path
    for module in ("verdict.py", "troubles.py", "day.py"):
        assert module in spans(DEMO)
        assert (ROOT / "streams/demo" / module).exists()
    assert Reason.OUTCOME_UNKNOWN.value in spans(DEMO)


# --- the picture ---------------------------------------------------------------------------------------


def test_the_picture_is_sound_and_names_the_topics_on_a_dossiers_way() -> None:
    picture = ElementTree.fromstring(read(PICTURE))
    said = {"".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    beside = {INDICATOR_OBSERVATIONS, REPORT_PACKETS}  # they hold no dossiers
    assert {topic.name for topic in TOPICS if topic not in beside} <= said
    assert "prefers-color-scheme: dark" in read(PICTURE)


@pytest.mark.parametrize("readme", READMES)
def test_the_picture_numbers_the_steps_that_the_readme_tells(readme: str) -> None:
    drawn = re.findall(r'<text class="number"[^>]*>(\d)</text>', read(PICTURE))
    told = re.findall(r"^(\d)\. ", read(readme), re.MULTILINE)
    assert sorted(drawn) == told == list("123456")
    assert PICTURE in links(readme)

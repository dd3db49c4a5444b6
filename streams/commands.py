"""What the commands have in common: reading the settings, saying something, ending.

Status 1: it could not be done. Status 2: what was given is wrong, the settings included.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from monitoring.rates.catalogue import Words
from monitoring.rates.tables import number
from streams import checks
from streams.settings import Settings, problems

BAD_INPUT = 2
_TOLD_AT_ONCE = 20  # problems of one file

out = Console(emoji=False)  # else ":100:" in the name of a process becomes a picture
err = Console(stderr=True, emoji=False)


def settings() -> Settings:
    """The settings, or every problem with them and the end."""
    try:
        return Settings()  # type: ignore[call-arg] # the fields come from the environment
    except ValidationError as error:
        err.print("[bold red]Thiết lập chưa đúng[/bold red] [dim]settings are wrong[/dim]")
        for line in problems(error):
            err.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)
        raise typer.Exit(BAD_INPUT) from None


def say_json(content: object) -> None:
    """One JSON object on a line of its own."""
    sys.stdout.write(json.dumps(content, ensure_ascii=False, default=_plain) + "\n")


def fail(text: str) -> typer.Exit:
    """Say why, and end with status 1."""
    err.print(f"[bold red]✘[/bold red] {text}", soft_wrap=True, highlight=False)
    return typer.Exit(1)


def refused(*wrong: Words) -> typer.Exit:
    """Say what is wrong with what was given, and end with status 2."""
    for problem in wrong[:_TOLD_AT_ONCE]:
        err.print(f"[bold red]✘[/bold red] {in_both(problem)}", soft_wrap=True, highlight=False)
    more = len(wrong) - _TOLD_AT_ONCE
    if more > 0:
        err.print(f"  và {more} lỗi nữa  [dim]and {more} more[/dim]", soft_wrap=True)
    return typer.Exit(BAD_INPUT)


def warn(words: Words) -> None:
    """Say something that does not keep the command from going on."""
    err.print(f"[yellow]![/yellow] {in_both(words)}", soft_wrap=True, highlight=False)


def remedy(error: Exception) -> str:
    """What is to be done about a counterpart's error, and what it said."""
    return f"{checks.in_vietnamese(error)}  [dim]{error}[/dim]"


def in_both(words: Words) -> str:
    """In both languages, for a console."""
    return f"{escape(words.vi)}  [dim]{escape(words.en)}[/dim]"


def table_of(headings: Sequence[str]) -> Table:
    """A table whose first column, of codes, is not broken."""
    table = Table(box=None)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == headings[0])
    return table


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")

"""Reading the tables that come in TOML: checked against their types, every mistake named by code and field."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


def load(
    model: type[M], text: str, where: str, one_of: Mapping[str, str], error: type[ValueError]
) -> M:
    """The model of a TOML text. `one_of`: what an entry of each of its lists and tables is called.

    Raises `error`, which names `where`, and code and field in the words of the file.
    """
    try:
        table = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as exc:
        raise error(f"{where}: no TOML: {exc}") from None
    try:
        return model.model_validate(table)
    except ValidationError as exc:
        mistakes = (
            f"{_place(table, one['loc'], one_of)}{one['msg'].removeprefix('Value error, ')}"
            for one in exc.errors(include_input=False, include_url=False)
        )
        raise error(f"{where}: {'; '.join(mistakes)}") from None


def _place(table: dict[str, Any], loc: tuple[int | str, ...], one_of: Mapping[str, str]) -> str:
    """Code and field: `rate on_time: terms.0.weight: `."""
    match loc:
        case (str(kind), int(number), *fields) if kind in one_of:
            entry = table[kind][number]
            code = entry.get("code") if isinstance(entry, dict) else None
            place = [f"{one_of[kind]} {code or f'number {number + 1}'}"]
        case (str(kind), str(name), *fields) if kind in one_of:
            place = [f"{one_of[kind]} {name}"]
        case _:
            place, fields = [], list(loc)
    if fields:
        place.append(".".join(str(field) for field in fields))
    return "".join(f"{part}: " for part in place)

"""Looks for invented people in bytes, in every form in which they could stand there in clear."""

from __future__ import annotations

import base64
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import connect
from xml.sax.saxutils import escape

FIELDS = ("name", "id_no", "phone", "email", "address", "contact")
SHORTEST = 8
"""Nothing shorter is looked for: it would be found by chance."""

_PREFIX = 8  # bytes by which a place is compared first


@dataclass(frozen=True, order=True)
class Hit:
    """Where something of a person stands; what exactly is not repeated."""

    place: str
    field: str
    form: str


def told(people: Iterable[Mapping[str, str]]) -> dict[str, set[str]]:
    """What is to be looked for, by field: every distinct text that is long enough to mean something."""
    texts: dict[str, set[str]] = defaultdict(set)
    for person in people:
        for field in FIELDS:
            text = person[field].strip()
            if len(text) >= SHORTEST:
                texts[field].add(text)
    texts["contact"] -= texts["name"]  # citizens come themselves
    return texts


def forms(text: str) -> dict[str, bytes]:
    """How a text may stand in bytes, as clear as day."""
    decomposed = unicodedata.normalize("NFD", text)
    found = {
        "utf-8": text.encode(),
        "utf-8 decomposed": decomposed.encode(),
        "utf-8 upper case": text.upper().encode(),
        "utf-8 lower case": text.lower().encode(),
        "json": json.dumps(text)[1:-1].encode(),
        "json upper case": _upper_escapes(json.dumps(text)[1:-1]).encode(),
        "xml": escape(text).encode(),
        "xml numbers": text.encode("ascii", "xmlcharrefreplace"),
        "utf-16-le": text.encode("utf-16-le"),
        "utf-16-be": text.encode("utf-16-be"),
        "hexadecimal": text.encode().hex().encode(),
    }
    # In base64 it looks different at each of three places; the ends depend on the neighbours.
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + text.encode())
        found[f"base64 {shift}"] = encoded[4 if shift else 0 : -4]
    return {form: raw for form, raw in found.items() if len(raw) >= _PREFIX}


def _upper_escapes(text: str) -> str:
    parts = text.split("\\u")
    return parts[0] + "".join(f"\\u{part[:4].upper()}{part[4:]}" for part in parts[1:])


class Search:
    """Finds any of many texts in one pass. `texts`: by field, see `told`."""

    def __init__(self, texts: Mapping[str, Iterable[str]]) -> None:
        self._by_prefix: dict[bytes, list[tuple[bytes, str, str, str]]] = defaultdict(list)
        known: set[bytes] = set()
        for field, several in texts.items():
            for text in several:
                for form, raw in forms(text).items():
                    if raw not in known:
                        known.add(raw)
                        self._by_prefix[raw[:_PREFIX]].append((raw, field, form, text))

    def matches(self, data: bytes) -> Iterable[tuple[str, str, str]]:
        """(field, form, text) of everything that stands in `data`."""
        by_prefix = self._by_prefix
        for at in range(len(data) - _PREFIX + 1):
            for raw, field, form, text in by_prefix.get(data[at : at + _PREFIX], ()):
                if data.startswith(raw, at):
                    yield field, form, text

    def hits(self, places: Iterable[tuple[str, bytes]]) -> list[Hit]:
        """Distinct hits in named pieces of data."""
        return sorted(
            {
                Hit(place, field, form)
                for place, data in places
                for field, form, _ in self.matches(data)
            }
        )

    def found(self, pieces: Iterable[bytes]) -> dict[str, set[str]]:
        """Which texts stand somewhere in these pieces, by field."""
        texts: dict[str, set[str]] = defaultdict(set)
        for data in pieces:
            for field, _, text in self.matches(data):
                texts[field].add(text)
        return texts


def values(path: Path) -> Sequence[tuple[str, bytes]]:
    """Every value of every table of a SQLite file, as ("table.column", bytes), one per distinct value."""
    found: dict[tuple[str, bytes], None] = {}
    with closing(connect(f"file:{path}?mode=ro", uri=True)) as db:
        tables = [
            row[0]
            for row in db.execute("select name from sqlite_master where type = 'table'").fetchall()
        ]
        for table in tables:
            rows = db.execute(f'select * from "{table}"')
            columns = [column[0] for column in rows.description]
            for row in rows:
                for column, value in zip(columns, row, strict=True):
                    if value is not None:
                        raw = value if isinstance(value, bytes) else str(value).encode()
                        found[f"{table}.{column}", raw] = None
    return list(found)

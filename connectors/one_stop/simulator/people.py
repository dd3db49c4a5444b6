"""Invented people. None of them can exist.

Names are put together from lists of common Vietnamese name parts. A citizen's 12-digit number begins with
999 (the first three digits of a real one are a province, 001 to 096); a company's tax number begins with
99 (no province has it); telephone numbers begin with 0000; e-mail addresses end in `.example`.
"""

from __future__ import annotations

import csv
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random

ID_PREFIX = "999"
TAX_PREFIX = "99"
PHONE_PREFIX = "0000"
EMAIL_DOMAIN = "congdan.example"


@cache
def _words() -> dict[str, tuple[str, ...]]:
    text = files(__package__).joinpath("data", "names.csv").read_text(encoding="utf-8")
    return {r["list"]: tuple(r["words"].split("|")) for r in csv.DictReader(text.splitlines())}


@dataclass(frozen=True, slots=True)
class Person:
    """An invented person or company. `kind` is citizen, business or officer; officers have only a name."""

    kind: str
    name: str
    id_no: str = ""
    phone: str = ""
    email: str = ""
    address: str = ""
    contact: str = ""  # the person who hands in a company's dossier; else the same name

    def __repr__(self) -> str:
        return f"Person(kind={self.kind!r})"


class People:
    """A seeded source of invented people. Numbers never repeat within a run."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"people:{seed}")
        self._known: list[Person] = []
        self._officers = [Person("officer", self._name()) for _ in range(150)]
        self._known += self._officers

    def everyone(self) -> tuple[Person, ...]:
        """All people made so far, officers included."""
        return tuple(self._known)

    def officer(self, key: str) -> str:
        """The name of an officer; the same key gives the same officer."""
        return Random(f"officer:{key}").choice(self._officers).name

    def applicant(self, commune: str, business: bool = False) -> Person:
        """A new citizen of `commune`, or a new company with its representative."""
        number = len(self._known)
        name = self._name()
        person = Person(
            kind="business" if business else "citizen",
            name=self._company(number) if business else name,
            id_no=(
                f"{TAX_PREFIX}{number:08d}"
                if business
                else f"{ID_PREFIX}{self._random.randrange(1000):03d}{number:06d}"
            ),
            phone=f"{PHONE_PREFIX}{number:06d}",
            email=f"{_slug(name)}.{number}@{EMAIL_DOMAIN}",
            address=f"Số {self._random.randint(1, 300)}, đường {self._random.choice(_words()['street'])}, {commune}",
            contact=name,
        )
        self._known.append(person)
        return person

    def add(self, person: Person) -> None:
        """Let a person made elsewhere (a name with a wart in it) be listed too."""
        self._known.append(person)

    def _name(self) -> str:
        r, w = self._random, _words()
        if r.random() < 0.5:
            middle, given = r.choice(w["middle_male"]), r.choice(w["given_male"])
        else:
            middle, given = r.choice(w["middle_female"]), r.choice(w["given_female"])
        return f"{r.choice(w['family'])} {middle} {given}"

    def _company(self, number: int) -> str:
        r, w = self._random, _words()
        return f"Công ty TNHH {r.choice(w['trade'])} {r.choice(w['brand'])} {number}"


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFD", name.lower().replace("đ", "d"))
    return "".join(c for c in plain if c.isascii() and c.isalpha())

"""What the simulator has to know of a contract besides its WSDL: a table of element names.

The same simulator serves any contract with these operations; `contracts/adapter.toml` is the packaged
one. Paths are local element names joined by ".", in the target namespace of the WSDL.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
"""Both contracts write local times without an offset."""

Node = Mapping[str, Any]
"""An element as a mapping: local name -> text, mapping, or a list of them where it may repeat."""


class ContractError(ValueError):
    """A contract description cannot be read; the text names the file and the key."""


class BadTime(ValueError):
    """A time that the schema lets pass and the calendar does not. The text names the element."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AnswerPaths(_Table):
    """Where an answer says yes or no."""

    code: str
    text: str


class VerdictWords(_Table):
    code: str
    text: str


class Verdicts(_Table):
    """What the portal says; the field names are the verdicts of the truth's `calls`."""

    done: VerdictWords
    exists: VerdictWords
    unknown_dossier: VerdictWords
    no_session: VerdictWords
    wrong_credentials: VerdictWords
    refused: VerdictWords


class LoginTable(_Table):
    element: str
    username: str
    password: str
    session: str  # in the answer


class StateItem(_Table):
    """Where the parts of a state that a look-up may show stand in an item."""

    code: str
    status: str
    times: dict[str, str]
    counts: dict[str, str]


class WriteTable(_Table):
    element: str
    session: str
    mode: str
    create: str
    update: str
    items: str
    item: StateItem


class StepItem(_Table):
    time: str
    officer: str
    status: str
    text: str


class StepsTable(_Table):
    element: str
    session: str
    items: str
    code: str | None = None  # in an item
    shared_code: str | None = None  # in the wrapper, for all items
    item: StepItem

    @model_validator(mode="after")
    def _one_code(self) -> StepsTable:
        if (self.code is None) == (self.shared_code is None):
            raise ValueError("give either code (in an item) or shared_code (in the wrapper)")
        return self


class LookUpTable(_Table):
    element: str
    session: str
    code: str
    item: str
    found: dict[str, str]
    state: dict[str, str]
    steps: str
    step: dict[str, str]


class CatalogueTable(_Table):
    element: str
    session: str
    code: str | None = None
    item: str
    found: dict[str, str]


class Contract(_Table):
    """One contract as the simulator serves it."""

    name: str
    wsdl: Path
    time_format: str
    answer: AnswerPaths
    verdicts: Verdicts
    login: LoginTable
    write: WriteTable
    steps: StepsTable
    look_up: LookUpTable
    procedures: CatalogueTable
    procedure: CatalogueTable
    agencies: CatalogueTable

    def roles(self) -> dict[str, str]:
        """Element of the wrapper -> role: login, write, steps, look_up, procedures, procedure, agencies."""
        return {
            self.login.element: "login",
            self.write.element: "write",
            self.steps.element: "steps",
            self.look_up.element: "look_up",
            self.procedures.element: "procedures",
            self.procedure.element: "procedure",
            self.agencies.element: "agencies",
        }

    def known_state(self, item: Node) -> dict[str, Any]:
        """What a look-up may show of a state: times in ISO form, counts as numbers.

        Raises `BadTime`.
        """
        table = self.write.item
        known: dict[str, Any] = {"status": text_at(item, table.status)}
        for name, path in table.times.items():
            known[name] = self.iso(text_at(item, path), path)
        for name, path in table.counts.items():
            known[name] = len(items_at(item, path))
        return known

    def known_step(self, item: Node) -> dict[str, str | None]:
        """A step in the truth's words. Raises `BadTime`."""
        table = self.steps.item
        return {
            "time": self.iso(text_at(item, table.time), table.time),
            "officer": text_at(item, table.officer),
            "status": text_at(item, table.status),
            "text": text_at(item, table.text),
        }

    def iso(self, text: str | None, path: str) -> str | None:
        """A time of the wire as ISO 8601 with the offset of Viet Nam; ``None`` for none."""
        if not text:
            return None
        try:
            return _iso(text, self.time_format)
        except ValueError:
            raise BadTime(path) from None

    def wire_time(self, iso: str) -> str:
        """The reverse of `iso`."""
        return datetime.fromisoformat(iso).astimezone(ZONE).strftime(self.time_format)


@dataclass(frozen=True, slots=True)
class LoadedContract:
    """A contract with the folder of its WSDL."""

    contract: Contract
    wsdl: Path


@lru_cache(maxsize=4096)  # a call's times are read twice, and many dossiers share a due time
def _iso(text: str, time_format: str) -> str:
    return datetime.strptime(text, time_format).replace(tzinfo=ZONE).isoformat()


def load_contract(name_or_path: str | Path) -> LoadedContract:
    """A packaged contract by name ("adapter") or a description in a file. Raises `ContractError`."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = Path(__file__).parent / "contracts" / f"{name_or_path}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        contract = Contract.model_validate(table)
    except OSError as exc:
        raise ContractError(f"contract {name_or_path}: {path}: {exc.strerror}") from None
    except (tomllib.TOMLDecodeError, ValidationError) as exc:
        raise ContractError(f"contract {path}: {exc}") from None
    wsdl = (path.parent / contract.wsdl).resolve()
    if not wsdl.is_file():
        raise ContractError(f"contract {path}: wsdl: there is no file {wsdl}")
    return LoadedContract(contract, wsdl)


def nodes_at(node: Any, path: str) -> list[Any]:
    """Everything that stands at `path`, in document order."""
    found = [node]
    for name in path.split("."):
        deeper: list[Any] = []
        for each in found:
            value = each.get(name) if isinstance(each, Mapping) else None
            if isinstance(value, list):
                deeper.extend(value)
            elif value is not None:
                deeper.append(value)
        found = deeper
    return found


def text_at(node: Any, path: str) -> str | None:
    """The first text at `path`; ``None`` where nothing or an empty element stands."""
    for value in nodes_at(node, path):
        if isinstance(value, str) and value:
            return value
    return None


def items_at(node: Any, path: str) -> list[Node]:
    """The elements with content at `path`."""
    return [value for value in nodes_at(node, path) if isinstance(value, Mapping)]

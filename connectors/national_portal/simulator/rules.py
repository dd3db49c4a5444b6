"""What the simulated portal does with a call: sessions, creation, update, steps, look-ups, catalogues."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from connectors.national_portal.simulator.contract import (
    CatalogueTable,
    Contract,
    Node,
    items_at,
    text_at,
)
from connectors.national_portal.simulator.profile import Profile
from connectors.national_portal.simulator.truth import Truth, content_hash
from connectors.national_portal.simulator.wire import Call, Part


class Catalogue(BaseModel):
    """Procedures and agencies, by the truth's names (code, name, sector_code, …)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = ""
    procedures: tuple[dict[str, str], ...] = ()
    agencies: tuple[dict[str, str], ...] = ()


def packaged_catalogue() -> Catalogue:
    """Forty real procedures and the codes of all provinces and ministries."""
    text = (resources.files(__package__) / "catalogues.json").read_bytes()
    return Catalogue.model_validate(orjson.loads(text))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided. `parts` are the answer's, beside the verdict."""

    verdict: str
    parts: tuple[Part, ...] = field(default=(), repr=False)
    effects: int = 0


class _Refused(Exception):
    def __init__(self, verdict: str) -> None:
        super().__init__(verdict)
        self.verdict = verdict


class Portal:
    """The portal behind the wire. `decide` and `give_birth` run at the desk."""

    def __init__(self, contract: Contract, truth: Truth, profile: Profile) -> None:
        self._contract = contract
        self._truth = truth
        self.profile = profile
        self.catalogue = packaged_catalogue()
        self._sessions: dict[str, float] = {}

    def forget_sessions(self) -> None:
        self._sessions.clear()

    def end_session(self, session: str | None) -> None:
        self._sessions.pop(session or "", None)

    def decide(
        self, call: Call, number: int, *, only: int | None = None, admitted: bool = False
    ) -> Outcome:
        """Do what the call asks. `only`: apply so many items, then fail.

        `admitted`: the session was looked at when the call came in.
        """
        if call.role == "login":
            return self._login(call)
        if not admitted and not self.session_holds(call.session):
            return Outcome("no_session")
        match call.role:
            case "create" | "update" | "steps":
                return self._write(call, number, only)
            case "look_up":
                return self.look_up(call, ago=self.profile.stale_seconds)
            case "procedures":
                return self._listed(self._contract.procedures, self.catalogue.procedures)
            case "agencies":
                return self._listed(self._contract.agencies, self.catalogue.agencies)
            case _:
                table = self._contract.procedure
                code = text_at(call.fields, table.code or "")
                return self._listed(
                    table, [each for each in self.catalogue.procedures if each["code"] == code]
                )

    # --- sessions --------------------------------------------------------------------------------

    def _login(self, call: Call) -> Outcome:
        table = self._contract.login
        given = (text_at(call.fields, table.username), text_at(call.fields, table.password))
        if given != (self.profile.username, self.profile.password):
            return Outcome("wrong_credentials")
        session = uuid.uuid4().hex
        self._sessions[session] = time.monotonic()
        return Outcome("done", ((table.session, session),))

    def session_holds(self, session: str | None) -> bool:
        """Whether this session was opened and has not ended yet."""
        began = self._sessions.get(session or "")
        return began is not None and time.monotonic() - began < self.profile.session_seconds

    # --- writes ----------------------------------------------------------------------------------

    def _write(self, call: Call, number: int, only: int | None) -> Outcome:
        effects = 0
        try:
            if self.profile.chunk_atomic or call.role != "steps":
                with self._truth.part():
                    for each in self._items(call, number, only):
                        effects += each
            else:
                for each in self._items(call, number, only):
                    effects += each
        except _Refused as refused:
            kept = 0 if self.profile.chunk_atomic or call.role != "steps" else effects
            return Outcome(refused.verdict, effects=kept)
        return Outcome("done", effects=effects)

    def _items(self, call: Call, number: int, only: int | None) -> Any:
        """Apply one item after another; yields the effects of each."""
        steps = call.role == "steps"
        table = self._contract.steps if steps else self._contract.write
        for index, item in enumerate(items_at(call.fields, table.items)):
            if only is not None and index >= only:
                raise _Refused("refused")
            yield self._step(call, item, number) if steps else self._state(call, item, number)
        if only is not None:
            raise _Refused("refused")

    def _state(self, call: Call, item: Node, number: int) -> int:
        code = text_at(item, self._contract.write.item.code) or ""
        held = self._truth.dossier(code)
        if call.role == "create" and held is not None:
            raise _Refused("exists")
        if call.role == "update" and held is None:
            raise _Refused("unknown_dossier")
        known = self._contract.known_state(item)
        changed = self._truth.put_state(code, known, item, call=number, message_id=call.message_id)
        return int(changed)

    def _step(self, call: Call, item: Node, number: int) -> int:
        table = self._contract.steps
        code = text_at(item, table.code) if table.code else call.codes[0]
        assert code is not None  # the schema demands it
        if self._truth.dossier(code) is None:
            raise _Refused("unknown_dossier")
        known = self._contract.known_step(item)
        if self.profile.steps_dedup and self._truth.has_step(code, known):
            return 0
        self._truth.append_step(code, known, item, call=number, message_id=call.message_id)
        return 1

    def would_change(self, call: Call) -> bool:
        """Whether the write would have an effect now. A step always has one."""
        if call.role == "steps":
            return True
        table = self._contract.write
        for item in items_at(call.fields, table.items):
            held = self._truth.dossier(text_at(item, table.item.code) or "")
            if held is None or held.hash != content_hash(item):
                return True
        return False

    def give_birth(self, item: Mapping[str, Any]) -> str:
        """Store a dossier that is born on the portal; returns its code. Raises `ValueError`.

        `item` is an item of the contract's write, or holds `code` besides it.
        """
        fields = {key: value for key, value in item.items() if key != "code"}
        code = item.get("code") or text_at(item, self._contract.write.item.code)
        if not isinstance(code, str):
            raise ValueError(f"a dossier needs its code: code or {self._contract.write.item.code}")
        if self._truth.dossier(code) is not None:
            raise ValueError(f"dossier {code} is there already")
        try:
            known = self._contract.known_state(fields)
        except ValueError as exc:
            raise ValueError(f"dossier {code}: {exc}: no such time") from None
        self._truth.put_state(code, known, fields, born=True)
        return code

    # --- reads -----------------------------------------------------------------------------------

    def look_up(self, call: Call, *, ago: float) -> Outcome:
        """What the portal held `ago` seconds ago."""
        (code,) = call.codes
        at = time.time() - ago
        known = self._truth.state_at(code, at)
        if known is None:
            return Outcome("done")
        return Outcome("done", (self.found(code, known, at),))

    def found(self, code: str, known: Mapping[str, Any], at: float) -> Part:
        """The answer's item about one dossier, as much of it as the profile shows."""
        table = self._contract.look_up
        parts: list[Part] = [(table.found["code"], code)]
        if self.profile.lookup in ("state", "steps"):
            for name, path in table.state.items():
                value = known.get(name)
                if value is None or value == "":
                    continue
                timed = name in self._contract.write.item.times
                parts.append((path, self._contract.wire_time(value) if timed else str(value)))
        if self.profile.lookup == "steps":
            for step in self._truth.steps_at(code, at):
                parts.append((table.steps, self._listed_step(step)))
        return (table.item, parts)

    def _listed_step(self, step: Mapping[str, Any]) -> Sequence[Part]:
        return [
            (path, self._contract.wire_time(step[name]) if name == "time" else step[name])
            for name, path in self._contract.look_up.step.items()
        ]

    @staticmethod
    def _listed(table: CatalogueTable, entries: Sequence[Mapping[str, str]]) -> Outcome:
        parts: list[Part] = []
        for entry in entries:
            fields: list[Part] = [
                (path, entry[name]) for name, path in table.found.items() if entry.get(name)
            ]
            parts.append((table.item, fields))
        return Outcome("done", tuple(parts))

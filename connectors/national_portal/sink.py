"""The sink `national_portal`: one call, or none, for each of the engine's requests."""

from __future__ import annotations

import time
import unicodedata
import uuid
from collections.abc import Callable, Mapping, Sequence

import orjson

from connectors.errors import DeliveryError, RejectedError, TransientError
from connectors.national_portal.client import Answer, PortalClient
from connectors.national_portal.config import NationalPortalSettings
from connectors.national_portal.dialect import (
    Dialect,
    Encoder,
    OperationName,
    get,
    get_items,
    get_text,
    replaced,
)
from connectors.national_portal.faults import Trouble, judge, trouble_of_answer
from connectors.national_portal.mapping import state_record, step_record
from connectors.national_portal.session import Session
from connectors.protocols import (
    Abilities,
    Exchange,
    Intent,
    Lookup,
    LookupAnswer,
    Receipt,
    StateRequest,
    StepRequest,
)
from schemas.dossier.mappings import Codes
from schemas.dossier.status import Status
from schemas.reasons import Reason
from schemas.records import DossierEvent, PersonalData
from schemas.sealing import Hasher, Sealer, SealError, open_person

_PROBE_CODE = "000.00.00.PROBE-000000-0000"
"""A well-formed dossier code that no agency can have: its absence is as good an answer as any."""


def boot_seconds() -> float:
    """Seconds on the clock that runs through suspension."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class NationalPortal:
    """Speaks to the national portal in one dialect. Implements `connectors.protocols.Sink`.

    The catalogue reads (`procedures`, `procedure`, `agencies`) are for checks and mappings, not for the
    engine. All calls raise only `connectors.errors`.
    """

    target = "national_portal"

    def __init__(
        self,
        settings: NationalPortalSettings,
        dialect: Dialect,
        sealer: Sealer,
        hasher: Hasher,
        clock: Callable[[], float] = boot_seconds,
    ) -> None:
        self.abilities: Abilities = settings.abilities.over(dialect.abilities)
        self._settings = settings
        self._dialect = dialect
        self._sealer = sealer
        self._hasher = hasher
        self._client = PortalClient(settings, dialect, clock)
        self._session = Session(
            self._log_in,
            clock,
            lifetime=settings.session_seconds,
            margin=settings.session_renew_margin_seconds,
        )
        self._state = Encoder(dialect, dialect.dossier)
        self._step = Encoder(dialect, dialect.step)

    async def open(self) -> None:
        """Read the WSDL and check the dialect against it. Raises `MisconfiguredError`."""
        await self._client.open()

    async def close(self) -> None:
        await self._session.close()
        await self._client.close()

    # --- mapping -----------------------------------------------------------------------------------

    def state_request(self, event: DossierEvent, codes: Codes) -> StateRequest:
        record, status = state_record(event, codes, self._open, self._dialect)
        body = self._state.encode(record, status)
        canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        return StateRequest(
            code=event.dossier_code or "",
            content_hash=self._hasher.hash("national_portal.state", canonical),
            body=body,
        )

    def shown(self, request: StateRequest) -> Mapping[str, str]:
        """The fields of the dialect's `look_up.state` that are also fields of a dossier."""
        fields = self._dialect.dossier.fields
        return {
            name: get_text(request.body, fields[name].path) or ""
            for name in self._dialect.look_up.state
            if name in fields
        }

    def step_request(self, event: DossierEvent, codes: Codes) -> StepRequest:
        record, status = step_record(event, codes, self._open)
        body = self._step.encode(record, status)
        written = {name: self._written(name, record[name]) for name in _KEY_FIELDS}
        return StepRequest(
            key=self._key(**written),
            supplement_request=status is Status.SUPPLEMENT_REQUESTED,
            body=body,
        )

    def _written(self, name: str, value: object) -> str:
        assert not isinstance(value, (list, tuple))
        return self._step.text(name, value)  # type: ignore[arg-type]  # a step's fields are scalars

    def _key(self, time: str, officer: str, status: str, text: str) -> str:
        parts = (_normal(part) for part in (time, officer, status, text))
        return self._hasher.hash("national_portal.step", *parts)

    def _open(self, event: DossierEvent) -> PersonalData:
        try:
            return open_person(self._sealer, event.sealed, event.dossier_id)
        except SealError as exc:
            detail = str(exc)  # names keys and remedies, never content
        raise RejectedError(Reason.FIELD_INVALID, f"field=sealed: {detail}", field="sealed")

    # --- writing -----------------------------------------------------------------------------------

    async def create(self, request: StateRequest, intent: Intent) -> Receipt:
        return await self._write("create", request.code, (request.body,), intent)

    async def update(self, request: StateRequest, intent: Intent) -> Receipt:
        return await self._write("update", request.code, (request.body,), intent)

    async def append_steps(
        self, code: str, steps: Sequence[StepRequest], intent: Intent
    ) -> Receipt:
        return await self._write("steps", code, [self._under(code, s.body) for s in steps], intent)

    def _under(self, code: str, body: Mapping[str, object]) -> Mapping[str, object]:
        """The step with the dossier code in it, where the contract wants it in every item."""
        # Only now: a step may be older than its dossier's code.
        spec = self._dialect.step.fields.get("code")
        return body if spec is None else replaced(body, spec.path, self._step.text("code", code))

    async def _write(
        self,
        operation: OperationName,
        code: str,
        records: Sequence[Mapping[str, object]],
        intent: Intent,
    ) -> Receipt:
        answer = await self._ask(operation, code, records, intent)
        named = self._dialect.answer.dossier
        if named and (echoed := get_text(answer.values, named)) and echoed != code:
            raise judge(
                operation,
                Trouble(Reason.FOREIGN_ANSWER, "the answer names another dossier"),
                sent=True,
                exchange=answer.exchange,
            )
        reference = self._dialect.answer.reference
        return Receipt(
            reference=get_text(answer.values, reference) if reference else None,
            exchange=answer.exchange,
        )

    # --- asking ------------------------------------------------------------------------------------

    async def look_up(self, code: str) -> LookupAnswer:
        """What the portal says it holds, as far as the abilities go. Anything unsure is transient."""
        spec = self._dialect.look_up
        try:
            answer = await self._ask("look_up", code)
        except TransientError as exc:
            if exc.reason is Reason.NOT_FOUND:
                return LookupAnswer(present=False)
            raise
        items = get_items(answer.values, spec.items)
        if spec.present is not None:
            present = (get_text(answer.values, spec.present) or "") in spec.present_values
        else:
            present = bool(items)
        if not present:
            return LookupAnswer(present=False)
        item = items[0] if items else {}
        if spec.code is not None:
            named = [get_text(each, spec.code) for each in items]
            if code not in named:
                raise _foreign(answer.exchange)
            item = items[named.index(code)]
        lookup = self.abilities.lookup
        state = None
        if lookup in (Lookup.STATE, Lookup.STEPS):
            state = {name: get_text(item, path) or "" for name, path in spec.state.items()}
            for name, path in spec.counts.items():
                state[name] = str(len(get_items(item, path)))
        steps = None
        if lookup is Lookup.STEPS and spec.steps is not None:
            listed = spec.steps
            steps = tuple(
                self._key(
                    time=get_text(step, listed.time) or "",
                    officer=get_text(step, listed.officer) or "",
                    status=get_text(step, listed.status) or "",
                    text=get_text(step, listed.text) or "",
                )
                for step in get_items(item, listed.path)
            )
        return LookupAnswer(present=True, state=state, steps=steps)

    async def probe(self) -> None:
        """Log in if there is no session, and look a dossier up that cannot be there."""
        await self.look_up(_PROBE_CODE)

    async def procedures(self) -> list[dict[str, object]]:
        """The portal's list of procedures: code, name."""
        return await self._catalogue("procedures", "")

    async def procedure(self, code: str) -> dict[str, object] | None:
        """One procedure in detail, or ``None`` where the portal has none of this code."""
        found = await self._catalogue("procedure", code)
        return found[0] if found else None

    async def agencies(self) -> list[dict[str, object]]:
        """The portal's list of agencies: code, name, level."""
        return await self._catalogue("agencies", "")

    async def _catalogue(self, operation: OperationName, code: str) -> list[dict[str, object]]:
        assert operation in ("procedures", "procedure", "agencies")
        spec = self._dialect.catalogues[operation]
        try:
            answer = await self._ask(operation, code)
        except TransientError as exc:
            if exc.reason is Reason.NOT_FOUND:
                return []
            raise
        return [
            {name: get(item, path) for name, path in spec.fields.items()}
            for item in get_items(answer.values, spec.items)
        ]

    # --- one call ----------------------------------------------------------------------------------

    async def _ask(
        self,
        operation: OperationName,
        code: str,
        records: Sequence[Mapping[str, object]] = (),
        intent: Intent | None = None,
    ) -> Answer:
        session = await self._session.get()
        fill = {"session": session, "agency": self._settings.agency_code, "code": code}
        try:
            answer = await self._client.call(
                operation,
                fill,
                records,
                message_id=intent.attempt_id if intent else str(uuid.uuid4()),
                intent=intent,
                issue=code if self._dialect.xroad.issue and code else None,
            )
            self._judge(operation, answer, len(records))
        except DeliveryError as exc:
            if exc.reason is Reason.SESSION_EXPIRED:
                self._session.lost(session)
            raise
        return answer

    def _judge(self, operation: OperationName, answer: Answer, records: int) -> None:
        spec = self._dialect.answer
        trouble = trouble_of_answer(
            self._dialect,
            operation,
            get_text(answer.values, spec.code),
            get_text(answer.values, spec.message),
            chunk=records if not self.abilities.steps_chunk_atomic else 1,
        )
        if trouble is not None:
            raise judge(operation, trouble, sent=True, exchange=answer.exchange)

    async def _log_in(self) -> str:
        fill = {
            "username": self._settings.username,
            "password": self._settings.password.get_secret_value(),
            "agency": self._settings.agency_code,
        }
        answer = await self._client.call("login", fill, message_id=str(uuid.uuid4()))
        self._judge("login", answer, 0)
        session = get_text(answer.values, self._dialect.answer.session)
        if not session:
            raise judge(
                "login", Trouble(Reason.UNPARSEABLE_ANSWER, "a login without a session"), sent=True
            )
        return session


_KEY_FIELDS = ("time", "officer", "status", "text")


def _normal(text: str) -> str:
    """A text as it compares after a journey: XML and databases change blanks and compositions."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _foreign(exchange: Exchange) -> DeliveryError:
    return judge(
        "look_up",
        Trouble(Reason.FOREIGN_ANSWER, "the answer names another dossier"),
        sent=True,
        exchange=exchange,
    )

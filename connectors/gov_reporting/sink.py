"""The sink `gov_reporting`: report packets, one call, or none, for each of the engine's requests."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from connectors.errors import DeliveryError, MisconfiguredError, RejectedError, TransientError
from connectors.gov_reporting.client import Answer, Carrier, ReportingClient, RestCarrier
from connectors.gov_reporting.config import GovReportingSettings, Transport
from connectors.gov_reporting.elements import Elements
from connectors.gov_reporting.encoding import Document
from connectors.gov_reporting.faults import Trouble, judge
from connectors.gov_reporting.mapping import (
    PacketUnreadable,
    Reader,
    Writer,
    envelope_of,
    get_text,
)
from connectors.gov_reporting.soap import SoapCarrier
from connectors.national_portal.sink import boot_seconds
from connectors.protocols import (
    Abilities,
    Intent,
    Lookup,
    LookupAnswer,
    Receipt,
    StateRequest,
    StepRequest,
)
from schemas.dossier.mappings import Codes
from schemas.reasons import Reason
from schemas.records import ReportPacket
from schemas.reports.canonical import ContentError
from schemas.reports.kinds import OUTGOING, PacketKind
from schemas.reports.packets import Content, ReportKey, kind_of, read, report_id, report_key
from schemas.sealing import Hasher, Sealer, SealError

_LARGEST_CONTENT = 256 * 1024 * 1024  # bytes once inflated: what deflates better was not made by us

_PROBE = ReportKey(
    kind=PacketKind.FIGURES, regime="PROBE", form="PROBE", period="2000-01", agency="PROBE"
)
"""A report that nobody can have: its absence is as good an answer as any."""


def carrier_for(
    settings: GovReportingSettings, elements: Elements, clock: Callable[[], float]
) -> Carrier:
    """The carrier that the settings want. Raises `MisconfiguredError`."""
    if settings.transport is Transport.REST:
        return RestCarrier(settings, elements, clock)
    if elements.soap is None:
        raise MisconfiguredError(
            Reason.CONTRACT_MISMATCH, f"elements {elements.name}: no [soap], which transport needs"
        )
    return SoapCarrier(settings, elements, clock)


class GovReporting:
    """Speaks to the Government reporting system. Implements `connectors.protocols.Sink[ReportPacket]`.

    A report has states only: each revision is the whole of it. All calls raise only `connectors.errors`.
    """

    target = "gov_reporting"

    def __init__(
        self,
        settings: GovReportingSettings,
        elements: Elements,
        sealer: Sealer,
        hasher: Hasher,
        clock: Callable[[], float] = boot_seconds,
    ) -> None:
        self.abilities: Abilities = settings.abilities.over(Abilities())
        self._settings = settings
        self._elements = elements
        self._sealer = sealer
        self._hasher = hasher
        self._client = ReportingClient(settings, elements, carrier_for(settings, elements, clock))
        self._writer = Writer(elements, settings.encoding)
        self._reader = Reader(elements)

    async def open(self) -> None:
        """Get ready for calls. Raises `MisconfiguredError`."""
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    # --- mapping -----------------------------------------------------------------------------------

    def state_request(self, event: ReportPacket, codes: Codes) -> StateRequest:
        """A revision as a packet. `codes` is not asked: a report's codes are those of its regime."""
        name = report_id(event.kind, event.regime, event.form, event.period, event.agency)
        if event.report_id != name:
            raise _invalid("report_id", "not kind/regime/form/period/agency of this packet")
        if event.kind not in OUTGOING:
            raise _invalid("kind", f"{event.kind} packets are received, never sent")
        if event.revision < 1:
            raise _invalid("revision", "counted from 1")
        content = self._content(event)
        if kind_of(content) is not event.kind:
            raise _invalid("kind", "the sealed content is another kind of packet")
        sent = envelope_of(event, self._settings.sender, self._settings.receiver)
        document = self._writer.packet(sent, content)
        written = orjson.dumps(
            document.tree, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
        )
        return StateRequest(
            code=name,
            content_hash=self._hasher.hash("gov_reporting.state", written),
            body={
                "document": document,
                "revision": event.revision,
                "hash": event.snapshot_hash,
            },
        )

    def step_request(self, event: ReportPacket, codes: Codes) -> StepRequest:
        """Refused: a report has no steps."""
        raise _no_steps()

    def shown(self, request: StateRequest) -> Mapping[str, str]:
        """Revision and hash. Not the status, which the receiver changes by itself."""
        shown = {"revision": str(request.body["revision"]), "hash": str(request.body["hash"])}
        return {name: text for name, text in shown.items() if name in self._elements.look_up.state}

    def _content(self, event: ReportPacket) -> Content:
        try:
            deflated = self._sealer.open(event.sealed, event.report_id)
            inflater = zlib.decompressobj()
            plain = inflater.decompress(deflated, _LARGEST_CONTENT)
            if not inflater.eof or inflater.unused_data:
                raise ContentError("content: cut short, or beyond what is taken")
            return read(plain)
        except (SealError, ContentError) as exc:
            detail = str(exc)  # names keys and places, never content
        except zlib.error:
            detail = "no deflated content"
        raise _invalid("sealed", detail)

    # --- writing -----------------------------------------------------------------------------------

    async def create(self, request: StateRequest, intent: Intent) -> Receipt:
        """Send the first revision that the target gets of this report."""
        return await self._write("create", request, intent)

    async def update(self, request: StateRequest, intent: Intent) -> Receipt:
        """Send a later revision, or the newest once more: a revision that is there with this hash is a yes."""
        return await self._write("update", request, intent)

    async def append_steps(
        self, code: str, steps: Sequence[StepRequest], intent: Intent
    ) -> Receipt:
        """Refused without a call: a report has no steps."""
        raise _no_steps()

    async def _write(self, operation: Any, request: StateRequest, intent: Intent) -> Receipt:
        document = request.body["document"]
        assert isinstance(document, Document)
        about = {**_parts(report_key(request.code)), "revision": request.body["revision"]}
        answer = await self._client.call(
            operation,
            intent=intent,
            document=self._writer.under(document, intent.attempt_id),
            about=about,
        )
        reference = self._elements.answer.reference
        return Receipt(
            reference=get_text(answer.tree, reference) if reference else None,
            exchange=answer.exchange,
        )

    # --- asking ------------------------------------------------------------------------------------

    async def look_up(self, code: str) -> LookupAnswer:
        """What the target says it holds of a report, by its id. Anything unsure is transient."""
        try:
            key = report_key(code)
        except ContentError as exc:
            raise MisconfiguredError(Reason.CONTRACT_MISMATCH, str(exc)) from None
        return await self._ask(key)

    async def _ask(self, key: ReportKey) -> LookupAnswer:
        spec = self._elements.look_up
        try:
            answer = await self._client.call(
                "look_up",
                ask=self._writer.question(spec.ask, key),
                places=_parts(key),
                about=_parts(key),
            )
        except TransientError as exc:
            if exc.reason is Reason.NOT_FOUND:
                return LookupAnswer(present=False)
            raise
        if self._client.reading("look_up", answer, spec.present) not in spec.present_values:
            return LookupAnswer(present=False)
        state = None
        if self.abilities.lookup is Lookup.STATE:
            state = self._held(answer)
        return LookupAnswer(present=True, state=state)

    def _held(self, answer: Answer) -> Mapping[str, str]:
        kinds: dict[str, Any] = {"revision": int, "hash": str, "status": str}
        state: dict[str, str] = {}
        trouble: Trouble | None = None
        for name, field in self._elements.look_up.state.items():
            try:
                value = self._reader.value(field, kinds[name], answer.tree)
            except PacketUnreadable as exc:
                trouble = Trouble(Reason.UNPARSEABLE_ANSWER, str(exc))
                break
            if name == "revision" and value is None:
                trouble = Trouble(Reason.UNPARSEABLE_ANSWER, f"element={field.path}: missing")
                break
            state[name] = "" if value is None else str(value).strip()
        if trouble is not None:
            raise judge("look_up", trouble, sent=True, exchange=answer.exchange)
        return state

    async def probe(self) -> None:
        """Get a token if there is none, and look a report up that cannot be there."""
        await self._ask(_PROBE)


def _parts(key: ReportKey) -> dict[str, str]:
    return {
        "kind": key.kind.value,
        "regime": key.regime,
        "form": key.form,
        "period": key.period,
        "agency": key.agency,
    }


def _invalid(field: str, detail: str) -> RejectedError:
    return RejectedError(Reason.FIELD_INVALID, f"field={field}: {detail}", field=field)


def _no_steps() -> DeliveryError:
    return RejectedError(
        Reason.FIELD_INVALID, "field=step: a report has revisions, no steps", field="step"
    )

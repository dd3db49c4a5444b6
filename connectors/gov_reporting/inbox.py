"""What the reporting system sends: regimes, forms, periods, catalogues, statuses; page by page, none lost.

The cursor is the target's and moves only with a page that was read whole. Nothing is confirmed to the target:
a page may be read again, and brings the same packets with the same numbers. What cannot be understood is
handed over with its bytes and the reason, in its place, and holds up nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors.gov_reporting import encoding
from connectors.gov_reporting.client import Answer, ReportingClient, once_more
from connectors.gov_reporting.config import GovReportingSettings
from connectors.gov_reporting.elements import Elements, Envelope
from connectors.gov_reporting.encoding import Document, Unreadable
from connectors.gov_reporting.faults import Trouble, judge
from connectors.gov_reporting.mapping import PacketUnreadable, Reader, get, get_items, get_text
from connectors.gov_reporting.sink import carrier_for
from connectors.national_portal.sink import boot_seconds
from schemas.reasons import Reason
from schemas.reports.kinds import INCOMING
from schemas.reports.packets import Content, content_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A packet that was understood. `raw`: its bytes as they came, or as they stood in the page."""

    number: str  # the target's; the same when a page is read again
    envelope: Envelope
    content: Content = field(repr=False)
    content_hash: str
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A packet that was not understood. `detail` names the element, never its content."""

    number: str
    reason: (
        Reason  # unreadable_payload: no document or packet; impossible_value: none that comes in
    )
    detail: str
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Packets in the target's order, those refused among them. `more`: ask again at once."""

    packets: tuple[Received | Refused, ...]
    cursor: str | None
    more: bool

    @property
    def refused(self) -> tuple[Refused, ...]:
        return tuple(each for each in self.packets if isinstance(each, Refused))


class Inbox:
    """Reads incoming packets. Raises only `connectors.errors`, and never an unknown outcome."""

    def __init__(
        self,
        settings: GovReportingSettings,
        elements: Elements,
        clock: Callable[[], float] = boot_seconds,
    ) -> None:
        self._settings = settings
        self._elements = elements
        self._client = ReportingClient(settings, elements, carrier_for(settings, elements, clock))
        self._reader = Reader(elements)

    async def open(self) -> None:
        """Get ready for calls. Raises `MisconfiguredError`."""
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def read(self, cursor: str | None) -> Page:
        """The page after `cursor`; ``None``: from the beginning. Save the cursor with what was taken in."""
        spec = self._elements.inbox
        ask = {spec.cursor_ask: cursor or "", spec.limit_ask: str(self._settings.inbox_page)}

        async def once() -> Answer:
            return await self._client.call("inbox", ask=ask)

        answer: Answer = await once_more(once)
        items = get_items(answer.tree, spec.items)
        packets = tuple(self._packet(answer, item) for item in items)
        if not packets:
            return Page(packets=(), cursor=cursor, more=False)
        moved = self._client.reading("inbox", answer, spec.cursor)
        if moved == cursor:
            raise _unparseable(answer, f"element={spec.cursor}: packets that move no cursor")
        more = get_text(answer.tree, spec.more) in (self._elements.values.true, "true")
        return Page(packets=packets, cursor=moved, more=more)

    def _packet(self, answer: Answer, item: object) -> Received | Refused:
        spec = self._elements.inbox
        number = get_text(item, spec.number)
        if not number:
            # Without its number nobody could tell it apart later: the page is not taken.
            raise _unparseable(answer, f"element={spec.items}.{spec.number}: missing")
        held = get(item, spec.packet)
        raw, document, why = self._document(held)
        if document is None:
            return Refused(number=number, reason=Reason.UNREADABLE_PAYLOAD, detail=why, raw=raw)
        try:
            envelope, content = self._reader.packet(document)
        except PacketUnreadable as exc:
            return Refused(
                number=number, reason=Reason.UNREADABLE_PAYLOAD, detail=str(exc), raw=raw
            )
        if envelope.kind not in INCOMING:
            detail = f"kind={envelope.kind}: such packets are sent, never received"
            return Refused(number=number, reason=Reason.IMPOSSIBLE_VALUE, detail=detail, raw=raw)
        return Received(
            number=number,
            envelope=envelope,
            content=content,
            content_hash=content_hash(content),
            raw=raw,
        )

    def _document(self, held: Any) -> tuple[bytes, Document | None, str]:
        """The packet's bytes, and the document in them: as text, or nested in the page."""
        how, namespace = self._settings.encoding, self._elements.xml.namespace
        if isinstance(held, Mapping):
            root = self._elements.root
            inner = held.get(root)
            tree = inner if isinstance(inner, Mapping) else held
            document = Document(root, tree)
            return encoding.write(document, how, namespace), document, ""
        if not isinstance(held, str) or not held.strip():
            return b"", None, "an entry without a packet"
        raw = held.encode("utf-8", "surrogatepass")
        try:
            return raw, encoding.read(held.strip().encode("utf-8"), how, namespace), ""
        except (Unreadable, UnicodeEncodeError) as exc:
            why = str(exc) if isinstance(exc, Unreadable) else "a text that is no UTF-8"
            return raw, None, why


def _unparseable(answer: Answer, detail: str) -> Exception:
    trouble = Trouble(Reason.UNPARSEABLE_ANSWER, detail)
    return judge("inbox", trouble, sent=True, exchange=answer.exchange)

"""The same documents by SOAP, through the national portal connector's client and the X-Road security server.

Each of the four calls holds one document as text and brings one back. There is no token: the security server
knows us by our certificate. The WSDL is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from connectors.gov_reporting import encoding
from connectors.gov_reporting.client import Carried, Question
from connectors.gov_reporting.config import GovReportingSettings
from connectors.gov_reporting.elements import OPERATIONS, Elements
from connectors.gov_reporting.encoding import Document
from connectors.gov_reporting.faults import judge
from connectors.national_portal.client import PortalClient
from connectors.national_portal.config import XRoadMember
from connectors.national_portal.dialect import FaultRule, OperationSpec, XRoadSpec, get_text
from connectors.protocols import Intent

_ASK = "YeuCau"
"""The outermost element of what a look-up or the inbox asks for."""


class _Contract:
    """What the SOAP client needs to know, from the table of elements."""

    def __init__(self, elements: Elements, wsdl: Path | None) -> None:
        assert elements.soap is not None
        self._spec = elements.soap
        self.name = elements.name
        self.wsdl = str(wsdl or Path(str(resources.files(__package__) / "wsdl" / "reporting.wsdl")))
        self.binding = elements.soap.binding
        self.xroad = XRoadSpec(issue=False)
        self.faults: Sequence[FaultRule] = ()

    def calls(self) -> Sequence[tuple[str, OperationSpec]]:
        return tuple(
            (
                name,
                OperationSpec(
                    name=getattr(self._spec, name), fixed={self._spec.document: "{document}"}
                ),
            )
            for name in OPERATIONS
        )

    def paths(self, operation: str) -> tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]:
        return [("", self._spec.document)], [("", self._spec.result)]


class _Settings:
    """The connector's settings as the SOAP client needs them."""

    def __init__(self, settings: GovReportingSettings) -> None:
        assert settings.client is not None
        assert settings.service is not None
        self.address = settings.address
        self.proxy = settings.proxy
        self.connection_limit = settings.connection_limit
        self.idle_connection_seconds = settings.idle_connection_seconds
        self.connect_timeout_seconds = settings.connect_timeout_seconds
        self.read_timeout_seconds = settings.read_timeout_seconds
        self.total_timeout_seconds = settings.total_timeout_seconds
        self.answer_limit_bytes = settings.answer_limit_bytes
        self.client_certificate = settings.client_certificate
        self.client_key = settings.client_key
        self.ca_certificates = settings.ca_certificates
        self.client: XRoadMember = settings.client
        self.service: XRoadMember = settings.service
        self.service_version = settings.service_version
        self.user_id = settings.user_id
        self.wsdl: Path | None = None  # stands in the contract, packaged or not


class SoapCarrier:
    """Takes a question in an envelope."""

    def __init__(
        self, settings: GovReportingSettings, elements: Elements, clock: Callable[[], float]
    ) -> None:
        assert elements.soap is not None
        self._settings = settings
        self._elements = elements
        self._result = elements.soap.result
        self._client = PortalClient(
            _Settings(settings), _Contract(elements, settings.wsdl), clock, judge
        )

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def carry(self, question: Question, intent: Intent | None) -> Carried:
        how = self._settings.encoding
        body = question.body
        if body is None:
            asked = Document(_ASK, dict(question.ask))
            body = encoding.write(asked, how, self._elements.xml.namespace)
        answer = await self._client.call(
            question.operation,
            {"document": body.decode("utf-8")},
            message_id=question.message_id,
            intent=intent,
        )
        text = get_text(answer.values, self._result) or ""
        return Carried(
            status=200,
            headers={},
            media_type=encoding.MEDIA_TYPES[how],
            body=text.encode("utf-8"),
            exchange=answer.exchange,
        )

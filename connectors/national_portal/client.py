"""SOAP to the national portal, and to whoever else speaks it. The only module that imports zeep.

The WSDL is read from disk and compiled once, when the client is opened. Nothing of zeep leaves this
module: answers become plain mappings, lists and scalars, exceptions become `connectors.errors`.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlparse

import requests
import zeep
import zeep.exceptions as zx
from lxml import etree
from zeep.plugins import Plugin
from zeep.proxy import AsyncServiceProxy
from zeep.transports import AsyncTransport
from zeep.xsd import AnySimpleType, ComplexType
from zeep.xsd.valueobjects import CompoundValue

from connectors.errors import DeliveryError, MisconfiguredError
from connectors.national_portal.config import XRoadMember
from connectors.national_portal.dialect import FaultRule, OperationSpec, XRoadSpec, put
from connectors.national_portal.faults import (
    EXCEPTIONS,
    Trouble,
    judge,
    trouble_of_exception,
    trouble_of_fault,
    trouble_of_status,
)
from connectors.national_portal.transport import Call, HttpSettings, HttpTransport
from connectors.protocols import Exchange, Intent
from schemas.reasons import Reason

XROAD = "http://x-road.eu/xsd/xroad.xsd"
IDENTIFIERS = "http://x-road.eu/xsd/identifiers"
_SOAP = {
    "http://schemas.xmlsoap.org/soap/envelope/",
    "http://www.w3.org/2003/05/soap-envelope",
}
_XML_TYPES = ("text/xml", "application/soap+xml", "application/xml", "multipart/related")
_ID = f"{{{XROAD}}}id"
_ISSUE = f"{{{XROAD}}}issue"

ZEEP_EXCEPTIONS: tuple[tuple[type[BaseException], Reason, Reason], ...] = (
    # Before a byte was written it was the message that could not be built; after, the answer.
    (zx.Error, Reason.CONTRACT_MISMATCH, Reason.UNPARSEABLE_ANSWER),
    (zx.ZeepWarning, Reason.CONTRACT_MISMATCH, Reason.UNPARSEABLE_ANSWER),
    (etree.Error, Reason.CONTRACT_MISMATCH, Reason.UNPARSEABLE_ANSWER),
    *EXCEPTIONS,
    # What zeep lets through on odd messages: an empty Body, a missing part, a wrong value.
    (LookupError, Reason.CONTRACT_MISMATCH, Reason.UNPARSEABLE_ANSWER),
    (AttributeError, Reason.CONTRACT_MISMATCH, Reason.UNPARSEABLE_ANSWER),
    (TypeError, Reason.CONTRACT_MISMATCH, Reason.UNPARSEABLE_ANSWER),
    (ValueError, Reason.CONTRACT_MISMATCH, Reason.UNPARSEABLE_ANSWER),
)


class SoapSettings(HttpSettings, Protocol):
    """What the client needs of a connector's settings."""

    @property
    def client(self) -> XRoadMember: ...
    @property
    def service(self) -> XRoadMember: ...
    @property
    def service_version(self) -> str | None: ...
    @property
    def user_id(self) -> str | None: ...
    @property
    def wsdl(self) -> Path | None: ...


class Contract(Protocol):
    """What the client needs of a contract: `Dialect`, or another connector's own."""

    @property
    def name(self) -> str: ...
    @property
    def wsdl(self) -> str | None: ...
    @property
    def binding(self) -> str | None: ...
    @property
    def xroad(self) -> XRoadSpec: ...
    @property
    def faults(self) -> Sequence[FaultRule]: ...

    def calls(self) -> Sequence[tuple[str, OperationSpec]]:
        """Every operation by our name for it."""
        ...

    def paths(self, operation: str) -> tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]:
        """What must be in the WSDL, of the request and of the answer: (where it begins, path)."""
        ...


class Judge(Protocol):
    """Makes an error of a trouble, by the operation that it met."""

    def __call__(
        self, operation: Any, trouble: Trouble, *, sent: bool, exchange: Exchange | None
    ) -> DeliveryError: ...


_current: ContextVar[Call] = ContextVar("national_portal_call")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the wrapper's content as plain values, and the bytes of the call."""

    values: Mapping[str, object]
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation of the dialect, compiled."""

    call: Callable[..., Any]
    fixed: tuple[tuple[tuple[str, ...], str], ...]
    record: tuple[str, ...] | None
    many: bool
    unwrapped: tuple[str, ...]  # levels that zeep takes away from the answer


class PortalClient:
    """Makes single calls: builds the message, sends it once, judges what comes back."""

    def __init__(
        self,
        settings: SoapSettings,
        dialect: Contract,
        clock: Callable[[], float],
        judge: Judge = judge,
    ) -> None:
        self._settings = settings
        self._dialect = dialect
        self._judge = judge
        self._http = HttpTransport(settings, clock)
        self._operations: dict[str, _Operation] = {}

    async def open(self) -> None:
        """Compile the WSDL and check the dialect against it.

        Raises `MisconfiguredError` (contract_mismatch, tls_failure), naming the file, path and remedy.
        """
        if not self._operations:
            self._operations = _compile(self._settings, self._dialect, self._http)
        await self._http.open()

    async def close(self) -> None:
        await self._http.close()

    async def call(
        self,
        operation: str,
        fill: Mapping[str, str],
        records: Sequence[Mapping[str, object]] = (),
        *,
        message_id: str,
        intent: Intent | None = None,
        issue: str | None = None,
    ) -> Answer:
        """One call. `fill` are the values of the dialect's {placeholders}.

        Raises `DeliveryError` as `faults.TABLE` says. A business refusal is no error here: the answer's
        code is the caller's to judge.
        """
        call = Call(message_id=message_id, intent=intent, issue=issue)
        token = _current.set(call)
        trouble: Trouble
        try:
            values = await self._exchange(operation, fill, records, call)
        except Trouble as exc:
            trouble = exc
        except DeliveryError:
            raise
        except Exception as exc:
            trouble = trouble_of_exception(exc, sent=call.sent, rows=ZEEP_EXCEPTIONS)
        else:
            return Answer(values=values, exchange=_exchange_of(operation, call))
        finally:
            _current.reset(token)
        # Outside the handler: zeep's exceptions quote whole messages and must not hang on ours.
        raise self._judge(
            operation, trouble, sent=call.sent, exchange=_exchange_of(operation, call)
        )

    async def _exchange(
        self,
        operation: str,
        fill: Mapping[str, str],
        records: Sequence[Mapping[str, object]],
        call: Call,
    ) -> Mapping[str, object]:
        compiled = self._operations.get(operation)
        if compiled is None:
            raise Trouble(Reason.NOT_SENT, "the connector is closed")
        arguments: dict[str, object] = {}
        for path, template in compiled.fixed:
            put(arguments, path, fill[template[1:-1]] if template[:1] == "{" else template)
        if compiled.record is not None:
            put(arguments, compiled.record, list(records) if compiled.many else records[0])
        result = await compiled.call(**arguments)
        return _whole(result, compiled.unwrapped)


def _exchange_of(operation: str, call: Call) -> Exchange:
    # A login's bytes hold the password.
    if operation == "login":
        return Exchange()
    return Exchange(request=call.request, answer=call.answer)


# --- X-Road header ---------------------------------------------------------------------------------


def _member(
    header: etree._Element, name: str, kind: str, member: XRoadMember, more: Mapping[str, str]
) -> None:
    element = etree.SubElement(header, f"{{{XROAD}}}{name}")
    element.set(f"{{{IDENTIFIERS}}}objectType", kind)
    parts = {
        "xRoadInstance": member.instance,
        "memberClass": member.member_class,
        "memberCode": member.member_code,
        "subsystemCode": member.subsystem_code,
        **more,
    }
    for part, text in parts.items():
        if text:
            etree.SubElement(element, f"{{{IDENTIFIERS}}}{part}").text = text


def _header(settings: SoapSettings, soap: str, service_code: str) -> etree._Element:
    """The header of one operation, in the protocol's order; id and issue are filled in per call."""
    header = etree.Element(f"{{{soap}}}Header", nsmap={"xrd": XROAD, "id": IDENTIFIERS})
    kind = "SUBSYSTEM" if settings.client.subsystem_code else "MEMBER"
    _member(header, "client", kind, settings.client, {})
    service = {"serviceCode": service_code, "serviceVersion": settings.service_version or ""}
    _member(header, "service", "SERVICE", settings.service, service)
    etree.SubElement(header, _ID)
    if settings.user_id:
        etree.SubElement(header, f"{{{XROAD}}}userId").text = settings.user_id
    etree.SubElement(header, _ISSUE)
    etree.SubElement(header, f"{{{XROAD}}}protocolVersion").text = "4.0"
    return header


# --- zeep ------------------------------------------------------------------------------------------


class _Transport(AsyncTransport):
    """Gives zeep our connections; reads documents from disk only."""

    def __init__(self, http: HttpTransport) -> None:
        # The base class would make an httpx client, which is not among our dependencies.
        self._close_session = False
        self.cache = None
        self.logger = logging.getLogger(__name__)
        self._http = http

    def load(self, url: str) -> bytes:
        if urlparse(str(url)).scheme in ("http", "https"):
            raise zx.ExternalReferenceForbidden(url)  # type: ignore[no-untyped-call]  # zeep's
        return Path(str(url).removeprefix("file://")).read_bytes()

    async def post_xml(
        self, address: str, envelope: etree._Element, headers: dict[str, str]
    ) -> requests.Response:
        call = _current.get()
        body = etree.tostring(envelope, encoding="utf-8", xml_declaration=True)
        call.request = body
        answer = await self._http.post(body, headers, call)
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        trouble = trouble_of_status(answer.status, answer.headers, xml=media_type in _XML_TYPES)
        if trouble is not None:
            raise trouble
        response = requests.Response()
        response._content = answer.body
        response.status_code = answer.status
        response.headers = answer.headers  # type: ignore[assignment]  # case-insensitive as well
        return response


class _Envelope(Plugin):
    """Gives a request its header, and looks at an answer's envelope before zeep reads it: whose it is,
    and whether it is a Fault.

    zeep's own way of writing and reading the header would cost a fifth of the call.
    """

    def __init__(self, settings: SoapSettings, dialect: Contract) -> None:
        self._settings = settings
        self._dialect = dialect
        self._headers: dict[str, etree._Element] = {}

    def egress(
        self, envelope: etree._Element, http_headers: Any, operation: Any, options: Any
    ) -> Any:
        if self._dialect.xroad.headers:
            template = self._headers.get(operation.name)
            if template is None:
                template = _header(
                    self._settings, etree.QName(envelope).namespace or "", operation.name
                )
                self._headers[operation.name] = template
            call = _current.get()
            header = copy.deepcopy(template)
            message_id, issue = header.find(_ID), header.find(_ISSUE)
            assert message_id is not None
            assert issue is not None
            message_id.text = call.message_id
            if call.issue is None:
                header.remove(issue)
            else:
                issue.text = call.issue
            envelope.insert(0, header)
        return envelope, http_headers

    def ingress(self, envelope: etree._Element, http_headers: Any, operation: Any) -> Any:
        call = _current.get()
        header, body = _parts(envelope)
        first = body[0] if body is not None and len(body) else None
        fault = first if first is not None and _local(first) == "Fault" else None
        self._check_owner(header, call, fault is not None)
        if fault is not None:
            raise trouble_of_fault(_fault_code(fault), self._dialect.faults)
        if first is None or first.tag != operation.output.body.qname.text:
            raise Trouble(Reason.UNPARSEABLE_ANSWER, "the body is not the operation's answer")
        if header is not None:
            envelope.remove(header)
        return envelope, http_headers

    def _check_owner(self, header: etree._Element | None, call: Call, fault: bool) -> None:
        if not (self._dialect.xroad.headers and self._dialect.xroad.echo):
            return
        echoed = header.findtext(_ID) if header is not None else None
        if echoed is None and fault:
            return  # a Fault may come from before the header was read
        if (echoed or "").strip() != call.message_id:
            raise Trouble(Reason.FOREIGN_ANSWER, "the answer does not echo our message id")
        issue = header.findtext(_ISSUE) if header is not None else None
        if issue and call.issue is not None and issue.strip() != call.issue:
            raise Trouble(Reason.FOREIGN_ANSWER, "the answer names another issue")


def _local(element: etree._Element) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _parts(envelope: etree._Element) -> tuple[etree._Element | None, etree._Element | None]:
    header = body = None
    for child in envelope:
        name = etree.QName(child)
        if name.namespace in _SOAP and name.localname == "Header":
            header = child
        elif name.namespace in _SOAP and name.localname == "Body":
            body = child
    return header, body


def _fault_code(fault: etree._Element) -> str | None:
    """The local name of the code; prefixes differ from stack to stack and mean nothing."""
    for child in fault.iter():
        if _local(child) in ("faultcode", "Value"):
            return (child.text or "").strip().rpartition(":")[2] or None
    return None


def _plain(value: Any) -> object:
    if isinstance(value, CompoundValue):
        return {name: _plain(part) for name, part in value.__values__.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value


def _whole(result: Any, unwrapped: tuple[str, ...]) -> Mapping[str, object]:
    """The wrapper's content, with the levels that zeep takes away put back."""
    if not unwrapped and isinstance(result, CompoundValue) and "body" in result.__values__:
        result = result.body  # headers are declared: zeep yields header and body
    value = _plain(result)
    for name in reversed(unwrapped):
        value = {name: value}
    return value if isinstance(value, dict) else {}


# --- compiling -------------------------------------------------------------------------------------


def wsdl_path(settings: SoapSettings, dialect: Contract) -> Path:
    """The WSDL in force: the settings' own, else the dialect's, else the packaged one."""
    if settings.wsdl is not None:
        return settings.wsdl
    if dialect.wsdl is not None:
        return Path(dialect.wsdl)
    return Path(str(resources.files(__package__) / "wsdl" / "adapter" / "portal.wsdl"))


def _mismatch(detail: str) -> MisconfiguredError:
    return MisconfiguredError(Reason.CONTRACT_MISMATCH, detail)


def _compile(
    settings: SoapSettings, dialect: Contract, http: HttpTransport
) -> dict[str, _Operation]:
    path = wsdl_path(settings, dialect)
    if not path.is_file():
        raise _mismatch(f"WSDL {path}: no such file; set THONGSUOT_NATIONAL_PORTAL__WSDL")
    problem: str
    try:
        client = zeep.Client(  # type: ignore[no-untyped-call]  # zeep's
            str(path.resolve()),
            transport=_Transport(http),
            plugins=[_Envelope(settings, dialect)],
            settings=zeep.Settings(
                strict=True, forbid_dtd=True, forbid_external=True, xml_huge_tree=False
            ),
        )
    except (zx.Error, etree.LxmlError, OSError, LookupError, AttributeError, ValueError) as exc:
        problem = type(exc).__name__
    else:
        return _compiled(client, settings, dialect, path)
    raise _mismatch(f"WSDL {path}: cannot be read ({problem}); check it and its schemas")


def _compiled(
    client: Any, settings: SoapSettings, dialect: Contract, path: Path
) -> dict[str, _Operation]:
    binding = _binding(client, dialect, path)
    proxy: Any = AsyncServiceProxy(  # type: ignore[no-untyped-call]  # zeep's
        client, binding, address=str(settings.address)
    )
    compiled: dict[str, _Operation] = {}
    for name, spec in dialect.calls():
        known = binding._operations.get(spec.name)
        if known is None:
            raise _mismatch(
                f"WSDL {path}: no operation {spec.name}, which the dialect {dialect.name} calls {name}"
            )
        _check_paths(dialect, name, spec, known)
        compiled[name] = _Operation(
            call=proxy[spec.name],
            fixed=tuple((tuple(where.split(".")), text) for where, text in spec.fixed.items()),
            record=tuple(spec.record.split(".")) if spec.record else None,
            many=spec.many,
            unwrapped=_unwrapped(known.output),
        )
    return compiled


def _binding(client: Any, dialect: Contract, path: Path) -> Any:
    if dialect.binding is not None:
        binding = client.wsdl.bindings.get(dialect.binding)
    else:
        ports = [
            port for service in client.wsdl.services.values() for port in service.ports.values()
        ]
        binding = ports[0].binding if ports else None
    if binding is None:
        known = ", ".join(client.wsdl.bindings) or "none"
        raise _mismatch(f"WSDL {path}: no binding {dialect.binding or ''}; it has: {known}")
    return binding


def _unwrapped(output: Any) -> tuple[str, ...]:
    """The levels that zeep takes away from an answer without declared headers."""
    if output.header.type._element:
        return ()
    levels: list[str] = []
    kind = output.body.type
    while isinstance(kind, ComplexType) and len(kind.elements) == 1 and len(levels) < 2:
        if kind.attributes:
            break
        name, element = kind.elements[0]
        levels.append(name)
        kind = element.type
    return tuple(levels)


def _child(kind: Any, path: str) -> Any:
    """The type at `path` below `kind`, or ``None``."""
    for part in path.split(".") if path else ():
        elements = dict(kind.elements) if isinstance(kind, ComplexType) else {}
        if part not in elements:
            return None
        kind = elements[part].type
    return kind


def _check_paths(dialect: Contract, name: str, spec: OperationSpec, operation: Any) -> None:
    """Every path of the dialect must lead somewhere in the WSDL. Raises `MisconfiguredError`."""
    asked, told = dialect.paths(name)
    for whole, paths in ((operation.input.body.type, asked), (operation.output.body.type, told)):
        for begins, where in paths:
            kind = _child(whole, begins)
            target = _child(kind, where) if kind is not None else None
            if not isinstance(target, (ComplexType, AnySimpleType)):
                raise _mismatch(
                    f"dialect {dialect.name}: the WSDL has no {where!r} in {spec.name}; "
                    "correct the path in the dialect"
                )

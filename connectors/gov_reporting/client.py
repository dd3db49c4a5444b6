"""One call to the reporting system: a document goes out, an answer comes back and is judged.

Two carriers take the same documents: `RestCarrier` with an access token, and `soap.SoapCarrier` through the
X-Road security server. Neither repeats a call.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote, quote_plus, urlencode

import orjson

from connectors.errors import DeliveryError, TransientError
from connectors.gov_reporting import encoding
from connectors.gov_reporting.config import ClientAuthentication, GovReportingSettings
from connectors.gov_reporting.elements import Elements, OperationName
from connectors.gov_reporting.encoding import Document, Tree, Unreadable
from connectors.gov_reporting.faults import (
    EXCEPTIONS,
    Operation,
    Trouble,
    judge,
    trouble_of_answer,
    trouble_of_status,
)
from connectors.gov_reporting.mapping import PacketUnreadable, Reader, get_text
from connectors.gov_reporting.token import Issued, Token
from connectors.national_portal.faults import retry_after_seconds, trouble_of_exception
from connectors.national_portal.transport import Call, HttpTransport
from connectors.protocols import Exchange, Intent
from schemas.reasons import Reason

_FORM = "application/x-www-form-urlencoded"
_WRONG_CLIENT = frozenset({"invalid_client", "unauthorized_client", "invalid_grant"})
"""RFC 6749 §5.2; what else it lists (invalid_scope, unsupported_grant_type) is a wrong set-up too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What goes out: a packet as its bytes, or what a look-up or the inbox asks for."""

    operation: OperationName
    message_id: str
    body: bytes | None = field(default=None, repr=False)
    ask: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)  # for the {parts} of a path


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What came back, before it is judged. By SOAP the status is 200: a Fault has been judged already."""

    status: int
    headers: Mapping[str, str]
    media_type: str
    body: bytes = field(repr=False)
    exchange: Exchange


class Carrier(Protocol):
    """Takes one question and brings what came back. Raises `DeliveryError`."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def carry(self, question: Question, intent: Intent | None) -> Carried: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A yes: what the document holds, and the bytes of the call."""

    tree: Tree = field(repr=False)
    exchange: Exchange


class ReportingClient:
    """Makes single calls and judges their answers."""

    def __init__(
        self, settings: GovReportingSettings, elements: Elements, carrier: Carrier
    ) -> None:
        self._settings = settings
        self._elements = elements
        self._carrier = carrier
        self._reader = Reader(elements)

    async def open(self) -> None:
        await self._carrier.open()

    async def close(self) -> None:
        await self._carrier.close()

    async def call(
        self,
        operation: OperationName,
        *,
        intent: Intent | None = None,
        document: Document | None = None,
        ask: Mapping[str, str] | None = None,
        places: Mapping[str, str] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> Answer:
        """One call. `about`: what the answer must be about, where it says. Raises `DeliveryError`."""
        message_id = intent.attempt_id if intent is not None else str(uuid.uuid4())
        question = Question(
            operation=operation,
            message_id=message_id,
            body=None if document is None else self._written(operation, document),
            ask=ask or {},
            places=places or {},
        )
        carried = await self._carrier.carry(question, intent)
        try:
            return self._judged(question, carried, about or {})
        except Trouble as exc:
            trouble = exc
        # Outside the handler: nothing of the answer must hang on the error.
        raise judge(operation, trouble, sent=True, exchange=carried.exchange)

    def _written(self, operation: OperationName, document: Document) -> bytes:
        body = encoding.write(document, self._settings.encoding, self._elements.xml.namespace)
        if len(body) > self._settings.request_limit_bytes:
            limit = self._settings.request_limit_bytes
            trouble = Trouble(
                Reason.FIELD_TOO_LONG,
                f"the packet has {len(body)} bytes, request_limit_bytes={limit}",
            )
            raise judge(operation, trouble, sent=False)
        return body

    def _judged(self, question: Question, carried: Carried, about: Mapping[str, Any]) -> Answer:
        operation = question.operation
        spec = self._elements.answer
        root = self._root(operation)
        tree, why = self._read(carried, root)
        code = get_text(tree, spec.code)
        status = carried.status
        trouble = trouble_of_status(status, carried.headers, readable=code is not None)
        if trouble is not None:
            if 200 <= status < 300 and why:
                trouble = Trouble(Reason.UNPARSEABLE_ANSWER, f"{trouble.detail}: {why}")
            raise trouble
        self._check_owner(question, tree, about)
        message = get_text(tree, spec.message)
        trouble = trouble_of_answer(self._elements, operation, status, code, message)
        if trouble is not None:
            wait = retry_after_seconds(carried.headers)
            raise Trouble(trouble.reason, trouble.detail, retry_after=wait)
        return Answer(tree=tree, exchange=carried.exchange)

    def _root(self, operation: OperationName) -> str:
        elements = self._elements
        roots = {"look_up": elements.look_up.root, "inbox": elements.inbox.root}
        return roots.get(operation, elements.answer.root)

    def _read(self, carried: Carried, root: str) -> tuple[Tree, str]:
        """What the answer holds, or nothing and why."""
        how = self._settings.encoding
        if not encoding.is_readable(carried.media_type, how):
            return {}, f"its content type is none of {how}"
        try:
            document = encoding.read(carried.body, how, self._elements.xml.namespace)
        except Unreadable as exc:
            return {}, str(exc)
        found: list[Tree] = []
        for each in (root, self._elements.answer.root):  # a refusal may have the answer's own root
            try:
                found.append(self._reader.body(document, each))
            except PacketUnreadable:
                continue
        if not found:
            return {}, f"element={root}: another one is outermost"
        code = self._elements.answer.code
        return next((tree for tree in found if get_text(tree, code)), found[0]), ""

    def _check_owner(self, question: Question, tree: Tree, about: Mapping[str, Any]) -> None:
        spec = self._elements.answer
        if spec.message_id is not None:
            echoed = get_text(tree, spec.message_id)
            if echoed != question.message_id and (echoed or spec.message_id_required):
                raise Trouble(Reason.FOREIGN_ANSWER, "the answer does not echo our message id")
        fields = self._elements.look_up.about if question.operation == "look_up" else spec.about
        if not about:
            return
        try:
            named = self._reader.about(fields, tree)
        except PacketUnreadable:
            raise Trouble(
                Reason.UNPARSEABLE_ANSWER, "the answer names a report in no known way"
            ) from None
        wrong = [name for name, value in named.items() if name in about and about[name] != value]
        if wrong:
            raise Trouble(
                Reason.FOREIGN_ANSWER, f"the answer names another report: {', '.join(wrong)}"
            )

    def reading(self, operation: OperationName, answer: Answer, path: str) -> str:
        """A text that an answer must hold. Raises `DeliveryError`."""
        found = get_text(answer.tree, path)
        if not found:
            trouble = Trouble(Reason.UNPARSEABLE_ANSWER, f"element={path}: missing")
            raise judge(operation, trouble, sent=True, exchange=answer.exchange)
        return found


# --- REST ----------------------------------------------------------------------------------------


class RestCarrier:
    """REST on the provincial service platform, with an access token by client credentials."""

    def __init__(
        self, settings: GovReportingSettings, elements: Elements, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._elements = elements
        self._http = HttpTransport(settings, clock)
        self._token = Token(self._fetch_token, clock, margin=settings.token_renew_margin_seconds)

    async def open(self) -> None:
        await self._http.open()

    async def close(self) -> None:
        await self._token.close()
        await self._http.close()

    async def carry(self, question: Question, intent: Intent | None) -> Carried:
        operation = question.operation
        spec = getattr(self._elements.rest, operation)
        token = await self._token.get()
        call = Call(message_id=question.message_id, intent=intent)
        media_type = encoding.MEDIA_TYPES[self._settings.encoding]
        address = self._address(spec.path, question.places)
        body = question.body or b""
        content_type = media_type
        if question.ask and spec.method == "GET":
            address += "?" + urlencode(question.ask)
        elif question.ask:
            body, content_type = urlencode(question.ask).encode(), _FORM
        call.request = body or address.encode()
        headers = {
            self._elements.rest.message_id_header: question.message_id,
            "Authorization": f"Bearer {token}",
            "Accept": media_type.partition(";")[0],
        }
        try:
            answer = await self._http.request(
                spec.method, address, headers, call, body=body, content_type=content_type
            )
        except Trouble as exc:
            trouble = exc
        except DeliveryError:
            raise
        except Exception as exc:
            trouble = trouble_of_exception(exc, sent=call.sent, rows=EXCEPTIONS)
        else:
            exchange = _exchange(call)
            if answer.status == 401:
                raise self._refused(operation, token, exchange)
            self._token.taken(token)
            return Carried(
                status=answer.status,
                headers=answer.headers,
                media_type=answer.headers.get("Content-Type", ""),
                body=answer.body,
                exchange=exchange,
            )
        # Outside the handler: an exception's text may quote what was sent.
        raise judge(operation, trouble, sent=call.sent, exchange=_exchange(call))

    def _address(self, path: str, places: Mapping[str, str]) -> str:
        filled = path
        for name, value in places.items():
            filled = filled.replace(f"{{{name}}}", quote(value, safe=""))
        return str(self._settings.address).rstrip("/") + filled

    def _refused(self, operation: Operation, token: str, exchange: Exchange) -> DeliveryError:
        if self._token.lost(token):
            trouble = Trouble(Reason.SESSION_EXPIRED, "http=401")
        else:
            trouble = Trouble(
                Reason.ACCESS_DENIED, "http=401 with fresh tokens: check scope and client_id"
            )
        return judge(operation, trouble, sent=True, exchange=exchange)

    # --- the token (RFC 6749 §4.4) ---------------------------------------------------------------

    async def _fetch_token(self) -> Issued:
        settings = self._settings
        assert settings.client_id is not None
        assert settings.client_secret is not None
        name, secret = settings.client_id, settings.client_secret.get_secret_value()
        fields = {"grant_type": "client_credentials"}
        headers = {"Accept": "application/json"}
        if settings.scope:
            fields["scope"] = settings.scope
        if settings.client_authentication is ClientAuthentication.BASIC:
            pair = f"{quote_plus(name)}:{quote_plus(secret)}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        else:
            fields |= {"client_id": name, "client_secret": secret}
        call = Call(message_id="", intent=None)
        try:
            answer = await self._http.request(
                "POST",
                str(settings.token_address),
                headers,
                call,
                body=urlencode(fields).encode(),
                content_type=_FORM,
            )
            return self._issued(answer.status, answer.headers, answer.body)
        except Trouble as exc:
            trouble = exc
        except Exception as exc:
            trouble = trouble_of_exception(exc, sent=call.sent, rows=EXCEPTIONS)
        # No exchange: its bytes hold the secret, or a token.
        raise judge("token", trouble, sent=call.sent)

    def _issued(self, status: int, headers: Mapping[str, str], body: bytes) -> Issued:
        said = _object(body)
        error = said.get("error")
        if status in (400, 401) and isinstance(error, str):
            if error in _WRONG_CLIENT:
                raise Trouble(
                    Reason.WRONG_CREDENTIALS, f"http={status}: check client_id and client_secret"
                )
            raise Trouble(
                Reason.ACCESS_DENIED,
                f"http={status}: the issuer refuses the request; check scope and token_address",
            )
        if status == 401:
            raise Trouble(Reason.WRONG_CREDENTIALS, "http=401: check client_id and client_secret")
        value = said.get("access_token")
        if 200 <= status < 300:
            if not isinstance(value, str) or not value or not value.isascii():
                raise Trouble(Reason.UNPARSEABLE_ANSWER, f"http={status}: no access_token")
            kind = str(said.get("token_type", "Bearer"))
            if kind.casefold() != "bearer":
                raise Trouble(Reason.CONTRACT_MISMATCH, "token_type is not Bearer")
            return Issued(value, _seconds(said.get("expires_in"), self._settings.token_seconds))
        trouble = trouble_of_status(status, headers, readable=False)
        assert trouble is not None
        raise trouble


def _exchange(call: Call) -> Exchange:
    return Exchange(request=call.request, answer=call.answer)


def _object(body: bytes) -> Mapping[str, object]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(value: object, default: float) -> float:
    """`expires_in`; some issuers write it as text."""
    try:
        seconds = float(str(value))
    except ValueError:
        return default
    return seconds if 0 < seconds < 1e9 else default


async def once_more(ask: Callable[[], Any]) -> Any:
    """Ask, and once more if the token had expired: for reads that no engine repeats."""
    try:
        return await ask()
    except TransientError as exc:
        if exc.reason is not Reason.SESSION_EXPIRED:
            raise
    return await ask()

"""Handing mails to the province's server (SMTP), and being sure whether it has taken them.

    MailError
    ├── NotTaken         the server has surely not taken the mail: it may be handed over again
    └── OutcomeUnknown   the connection broke when the whole mail was under way: it may have been taken

No text quotes an address or what a server said beyond its code: both may tell of people.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP
from typing import TypeVar

from streams.settings import MailSettings

T = TypeVar("T")

_TAKEN = (250, 251)


class MailError(Exception):
    """A mail was not handed over, or nobody knows. The text names the step and the remedy."""


class NotTaken(MailError):
    """The server has surely not taken it."""


class OutcomeUnknown(MailError):
    """It may have been taken: to hand it over again could be the second time."""


class MailServer:
    """The server of the settings; a connection of its own for every call, in a thread."""

    def __init__(self, settings: MailSettings) -> None:
        if settings.host is None or settings.sender is None:
            raise ValueError("THONGSUOT_MAIL__HOST and THONGSUOT_MAIL__SENDER are not set")
        self._host = settings.host
        self.sender = settings.sender
        self._settings = settings

    async def send(self, message: EmailMessage, addresses: Sequence[str]) -> int:
        """Hand a mail over for all addresses. Returns how many of them the server refused; not all.

        Raises `NotTaken` and `OutcomeUnknown`.
        """
        content = message.as_bytes(policy=SMTP)
        return await asyncio.to_thread(
            self._connected, lambda server: self._hand_over(server, content, addresses)
        )

    async def probe(self) -> None:
        """Connect, log in, and leave. Raises `NotTaken`."""
        await asyncio.to_thread(self._connected, lambda server: _expect(server.noop()[0], "NOOP"))

    def _connected(self, work: Callable[[smtplib.SMTP], T]) -> T:
        server: smtplib.SMTP | None = None
        try:
            server = self._open()
            return work(server)
        except smtplib.SMTPResponseException as error:
            raise NotTaken(f"the mail server answered {error.smtp_code}: {_REMEDY}") from None
        except smtplib.SMTPNotSupportedError:
            raise NotTaken(
                "the mail server offers no STARTTLS or no login: set THONGSUOT_MAIL__SECURITY as it is"
            ) from None
        except (OSError, smtplib.SMTPException) as error:  # ssl.SSLError is an OSError
            raise NotTaken(
                f"no use of the mail server ({type(error).__name__}): {_REMEDY}"
            ) from None
        finally:
            if server is not None:
                # What it says to QUIT changes nothing about the mail.
                with suppress(OSError, smtplib.SMTPException):
                    server.quit()
                server.close()

    def _open(self) -> smtplib.SMTP:
        at = (self._host, self._settings.port)
        timeout = self._settings.timeout_seconds
        if self._settings.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(*at, timeout=timeout, context=self._context())
        else:
            server = smtplib.SMTP(*at, timeout=timeout)
        try:
            if self._settings.security == "starttls":
                server.starttls(context=self._context())
            if self._settings.username is not None and self._settings.password is not None:
                server.login(self._settings.username, self._settings.password.get_secret_value())
            server.ehlo_or_helo_if_needed()
        except BaseException:
            server.close()
            raise
        return server

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._settings.ca_file)

    def _hand_over(self, server: smtplib.SMTP, content: bytes, addresses: Sequence[str]) -> int:
        _expect(server.mail(self.sender)[0], "MAIL")
        refused = [one for one in addresses if server.rcpt(one)[0] not in _TAKEN]
        if len(refused) == len(addresses):
            raise NotTaken(f"the mail server refused all {len(addresses)} addresses")
        try:
            code, _ = server.data(content)
        except smtplib.SMTPDataError:
            raise  # it did not want to have it
        except (OSError, smtplib.SMTPException) as error:
            raise OutcomeUnknown(
                f"the connection broke while the mail was handed over ({type(error).__name__})"
            ) from None
        _expect(code, "DATA")
        return len(refused)


_REMEDY = "check THONGSUOT_MAIL__HOST, __PORT, __SECURITY, __USERNAME, __PASSWORD and __SENDER"


def _expect(code: int, command: str) -> None:
    if code not in _TAKEN:
        raise NotTaken(f"the mail server answered {code} to {command}")

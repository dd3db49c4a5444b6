"""A mail server in this process: speaks SMTP as far as it is needed, and keeps what it was given."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default


@dataclass
class Taken:
    """A mail as it came in."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=default)

    def part(self, kind: str) -> str:
        body = self.message.get_body((kind,))
        assert body is not None
        text: str = body.get_content()
        return text.replace("\r\n", "\n")


@dataclass
class SmtpServer:
    """`answers` replace what it says to a command, e.g. {"MAIL": "451 later"}; `hang_up_after_data`: it takes the
    mail and is gone before it has said so. `login`: what it wants to have, over TLS alone."""

    answers: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    hang_up_after_data: bool = False
    login: tuple[str, str] | None = None
    context: ssl.SSLContext | None = None
    mails: list[Taken] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    port: int = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender, recipients = "", list[str]()
        secure = writer.get_extra_info("sslcontext") is not None
        self._say(writer, "220 test")
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            command = line.split(" ", 1)[0].upper()
            self.commands.append(command)
            if command in self.answers:
                self._say(writer, self.answers[command])
            elif command in {"EHLO", "HELO"}:
                offers = ["250-test"]
                offers += ["250-STARTTLS"] if self.context and not secure else []
                offers += ["250-AUTH PLAIN"] if self.login and secure else []
                self._say(writer, *offers, "250 SIZE 1000000")
            elif command == "STARTTLS" and self.context is not None:
                self._say(writer, "220 go on")
                await writer.start_tls(self.context)
                secure = True
            elif command == "AUTH":
                told = base64.b64decode(line.split()[-1]).decode().split("\0")[1:]
                self._say(writer, "235 in" if tuple(told) == self.login else "535 no")
            elif command == "MAIL":
                sender, recipients = line.partition("<")[2].partition(">")[0], []
                self._say(writer, "250 ok")
            elif command == "RCPT":
                address = line.partition("<")[2].partition(">")[0]
                if address in self.refused:
                    self._say(writer, "550 nobody here")
                else:
                    recipients.append(address)
                    self._say(writer, "250 ok")
            elif command == "DATA":
                self._say(writer, "354 go on")
                content = await reader.readuntil(b"\r\n.\r\n")
                plain = content.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
                if "CONTENT" in self.answers:
                    self._say(writer, self.answers["CONTENT"])
                    continue
                self.mails.append(Taken(sender, recipients, plain))
                if self.hang_up_after_data:
                    return
                self._say(writer, "250 taken")
            elif command == "QUIT":
                self._say(writer, "221 bye")
                return
            else:
                self._say(writer, "250 ok" if command in {"NOOP", "RSET"} else "502 what?")

    @staticmethod
    def _say(writer: asyncio.StreamWriter, *lines: str) -> None:
        writer.write("".join(f"{line}\r\n" for line in lines).encode())


@asynccontextmanager
async def listening(server: SmtpServer, *, tls: bool = False) -> AsyncIterator[SmtpServer]:
    """The server on a free port; with `tls`, from the first byte."""
    context = server.context if tls else None
    if tls:
        server.context = None
    opened = await asyncio.start_server(server.talk, "127.0.0.1", 0, ssl=context)
    server.port = opened.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        opened.close()

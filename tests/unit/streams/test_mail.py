"""Handing a mail over to a real server on a real connection: what arrives, and what is known when nothing does."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from streams.mail import MailServer, NotTaken, OutcomeUnknown
from streams.settings import MailSettings
from tests.unit.streams.smtp_server import SmtpServer, listening

PASSWORD = "mail-secret"


def mail_of(server: SmtpServer, **options: Any) -> MailServer:
    wanted: dict[str, Any] = {"security": "none", "timeout_seconds": 5, **options}
    return MailServer(MailSettings(host="127.0.0.1", port=server.port, sender="hub@x.vn", **wanted))


def message() -> EmailMessage:
    made = EmailMessage()
    made["Subject"] = "Hôm nay còn cứu được"
    made.set_content("Hồ sơ\n.\nhết\n")
    return made


async def test_the_server_gets_what_was_written() -> None:
    async with listening(SmtpServer()) as server:
        assert await mail_of(server).send(message(), ["a@x.vn", "b@x.vn"]) == 0
    (taken,) = server.mails
    assert (taken.sender, taken.recipients) == ("hub@x.vn", ["a@x.vn", "b@x.vn"])
    assert taken.message["Subject"] == "Hôm nay còn cứu được"
    assert taken.part("plain") == "Hồ sơ\n.\nhết\n"
    assert server.commands[-1] == "QUIT"


async def test_some_refused_addresses_keep_nobody_else_from_it() -> None:
    async with listening(SmtpServer(refused={"b@x.vn"})) as server:
        assert await mail_of(server).send(message(), ["a@x.vn", "b@x.vn"]) == 1
    assert [taken.recipients for taken in server.mails] == [["a@x.vn"]]


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({"MAIL": "451 later"}, id="sender"),
        pytest.param({"RCPT": "550 nobody here"}, id="every address"),
        pytest.param({"DATA": "421 going down"}, id="before the content"),
        pytest.param({"CONTENT": "554 spam"}, id="after the content"),
        pytest.param({"EHLO": "421 no", "HELO": "421 no"}, id="greeting"),
    ],
)
async def test_what_the_server_refuses_was_surely_not_taken(answers: dict[str, str]) -> None:
    async with listening(SmtpServer(answers=answers)) as server:
        with pytest.raises(NotTaken) as refused:
            await mail_of(server).send(message(), ["a@x.vn"])
    assert server.mails == []
    assert "a@x.vn" not in str(refused.value)


async def test_a_server_that_is_gone_before_its_answer_leaves_it_unknown() -> None:
    async with listening(SmtpServer(hang_up_after_data=True)) as server:
        with pytest.raises(OutcomeUnknown):
            await mail_of(server).send(message(), ["a@x.vn"])
    assert len(server.mails) == 1


async def test_what_it_says_to_a_good_bye_does_not_matter() -> None:
    async with listening(SmtpServer(answers={"QUIT": "500 what?"})) as server:
        assert await mail_of(server).send(message(), ["a@x.vn"]) == 0


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = SmtpServer(port=taken.getsockname()[1])
        with pytest.raises(NotTaken, match="THONGSUOT_MAIL__HOST"):
            await mail_of(server).probe()


# --- protected connections ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that signs itself, with its key, for this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("mail") / "mail.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


def protected(certificate: Path) -> SmtpServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return SmtpServer(context=context, login=("hub", PASSWORD))


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_password_goes_over_a_protected_connection(
    certificate: Path, security: str
) -> None:
    async with listening(protected(certificate), tls=security == "tls") as server:
        mail = mail_of(
            server,
            security=security,
            ca_file=certificate,
            username="hub",
            password=SecretStr(PASSWORD),
        )
        await mail.send(message(), ["a@x.vn"])
    assert len(server.mails) == 1
    assert "AUTH" in server.commands
    assert ("STARTTLS" in server.commands) == (security == "starttls")


async def test_a_wrong_password_is_told_without_being_quoted(certificate: Path) -> None:
    async with listening(protected(certificate)) as server:
        mail = mail_of(
            server,
            security="starttls",
            ca_file=certificate,
            username="hub",
            password=SecretStr("other-secret"),
        )
        with pytest.raises(NotTaken, match="535") as refused:
            await mail.probe()
    assert "secret" not in str(refused.value)


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    async with listening(protected(certificate)) as server:
        with pytest.raises(NotTaken, match="SSLCertVerificationError"):
            await mail_of(server, security="starttls").probe()
    assert "AUTH" not in server.commands


async def test_without_starttls_nothing_goes_in_clear() -> None:
    async with listening(SmtpServer()) as server:
        with pytest.raises(NotTaken, match="THONGSUOT_MAIL__SECURITY"):
            await mail_of(server, security="starttls").send(message(), ["a@x.vn"])
    assert "MAIL" not in server.commands

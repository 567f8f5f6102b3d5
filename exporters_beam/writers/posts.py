"""Ways by which mails go: a server that speaks SMTP, and Amazon SES. Both tell what goes wrong in one sentence."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parseaddr
from typing import Any, Protocol

from exporters_beam.components.mails import is_permanent, ses
from exporters_beam.components.words import shortened

TIMEOUT = 60.0
"""Seconds to wait for an answer."""

PORTS = {"starttls": 587, "ssl": 465, "none": 25}


class Trouble(Exception):
    """What went wrong, beginning with the option that is to blame, and whether it may go next time."""

    def __init__(self, text: str, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class Post(Protocol):
    """A way by which mails go. `send` returns when the mail was accepted; all raise Trouble."""

    def look(self, addresses: Sequence[str]) -> None:
        """Are sender and all these addresses accepted, as far as that can be known without a mail?"""

    def send(self, address: str, message: bytes) -> None: ...

    def close(self) -> None: ...


@dataclass
class Smtp:
    """A connection to a server, made when it is needed and again after it was lost."""

    sender: str
    host: str
    port: int
    tls: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    _connection: smtplib.SMTP | None = field(default=None, init=False, repr=False)

    def look(self, addresses: Sequence[str]) -> None:
        with self._answers():
            connection = self._connected()
            code, said = connection.mail(*self._envelope(connection, (self.sender, *addresses)))
            if code != 250:
                raise smtplib.SMTPSenderRefused(code, said, self.sender)
            answers = {address: connection.rcpt(bare(address)) for address in addresses}
            connection.rset()
            if refused := {address: told for address, told in answers.items() if told[0] not in (250, 251)}:
                raise smtplib.SMTPRecipientsRefused(refused)

    def send(self, address: str, message: bytes) -> None:
        with self._answers(len(message)):
            connection = self._connected()
            sender, options = self._envelope(connection, (self.sender, address))
            connection.sendmail(sender, [bare(address)], message, options)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError, smtplib.SMTPException):
                connection.quit()
            connection.close()

    def _connected(self) -> smtplib.SMTP:
        if self._connection is None:
            kind = _OverTls if self.tls == "ssl" else smtplib.SMTP
            kept: dict[str, Any] = {"context": self._context()} if self.tls == "ssl" else {}
            connection = kind(self.host, self.port, local_hostname=socket.gethostname(), timeout=TIMEOUT, **kept)
            try:
                if self.tls == "starttls":
                    connection.starttls(context=self._context())
                connection.ehlo_or_helo_if_needed()
                if self.user is not None:
                    connection.login(self.user, self.password or "")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise Trouble(f"option ca_file: {self.ca_file} cannot be used: {error.strerror or error}") from error

    def _envelope(self, connection: smtplib.SMTP, addresses: Iterable[str]) -> tuple[str, list[str]]:
        """The sender and the options of MAIL: that addresses are no ASCII has to be said."""
        if all(bare(address).isascii() for address in addresses):
            return bare(self.sender), []
        if not connection.has_extn("smtputf8"):
            raise Trouble("option emails: addresses with letters beyond ASCII are not taken by this server (SMTPUTF8)")
        return bare(self.sender), ["SMTPUTF8", "BODY=8BITMIME"]

    @contextmanager
    def _answers(self, size: int = 0) -> Iterator[None]:
        """Turns what the server says, and what becomes of the connection, into Trouble."""
        try:
            yield
        except Trouble:
            raise
        except (smtplib.SMTPException, OSError) as error:
            self.close()
            raise self._trouble(error, size) from error

    def _trouble(self, error: Exception, size: int) -> Trouble:
        server = f"{self.host}:{self.port}"
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            said = "; ".join(f"{address} ({answer(*told)})" for address, told in error.recipients.items())
            passing = all(400 <= code < 500 for code, _ in error.recipients.values())
            return Trouble(f"option emails: the server {server} does not take mails for {said}", passing)
        if isinstance(error, smtplib.SMTPResponseException):
            told, passing = answer(error.smtp_code, error.smtp_error), 400 <= error.smtp_code < 500
            if error.smtp_code == 552:
                return Trouble(f"option size_per_buffer_write: the mail has {size:,} bytes, and the server {server} does not "
                               f"take it ({told}); let files be smaller")  # fmt: skip
            if isinstance(error, smtplib.SMTPAuthenticationError):
                return Trouble(f"option smtp_password: the server {server} does not let {self.user} in ({told})", passing)
            if isinstance(error, smtplib.SMTPSenderRefused):
                return Trouble(f"option from: the server {server} does not take mails of {self.sender} ({told})", passing)
            return Trouble(f"the server {server} does not take the mail ({told})", passing)
        if isinstance(error, smtplib.SMTPNotSupportedError):
            remedy = "option tls: the server {} does not offer STARTTLS; set tls: ssl, or none where nothing is secret"
            if self.tls != "starttls" or "STARTTLS" not in str(error).upper():
                remedy = "option smtp_user: the server {} knows no login over this connection; leave it out, or set tls"
            return Trouble(remedy.format(server))
        if isinstance(error, smtplib.SMTPServerDisconnected):
            return Trouble(f"the server {server} broke off ({shortened(str(error), 200)})", True)
        if isinstance(error, ssl.SSLCertVerificationError):
            return Trouble(f"option ca_file: the certificate of {self.host} is not trusted: {error.verify_message}")
        if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return Trouble(f"option tls: the server {server} does not speak TLS as {self.tls} wants it ({error.reason})")
        if isinstance(error, smtplib.SMTPException):
            return Trouble(f"option smtp_user: {shortened(str(error), 200)} ({server})")
        told = shortened(str(error.strerror or error), 200) if isinstance(error, OSError) else str(error)
        return Trouble(f"option host: the server {server} cannot be reached ({told})", not isinstance(error, socket.gaierror))


class _OverTls(smtplib.SMTP_SSL):
    """Nothing but another name for what has the arguments of `SMTP` and a context."""


@dataclass
class Ses:
    """Amazon SES. Without keys boto3 finds some in its own ways."""

    sender: str
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    _client: Any = field(default=None, init=False, repr=False)

    def look(self, addresses: Sequence[str]) -> None:
        """Only keys can be looked at. One that may send and nothing else is a good key."""
        try:
            with self._answers():
                self.client.get_send_quota()
        except Trouble as error:
            if _code(error.__cause__) not in ("AccessDenied", "AccessDeniedException"):
                raise

    def send(self, address: str, message: bytes) -> None:
        with self._answers():
            self.client.send_raw_email(Source=self.sender, Destinations=[address], RawMessage={"Data": message})

    def close(self) -> None:
        self._client = None

    @property
    def client(self) -> Any:
        if self._client is None:
            self._client = ses(self.access_key, self.secret_key, "the writer mail without `host`")
        return self._client

    @contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # boto3 makes its exceptions at run time
            if not type(error).__module__.startswith("botocore"):
                raise
            code, told = _code(error), shortened(" ".join(str(error).split()), 300)
            if code in _OF_KEYS or type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
                raise Trouble(f"option access_key: Amazon SES does not take the keys ({told})") from error
            raise Trouble(f"Amazon SES does not take the mail ({told})", not is_permanent(error)) from error


_OF_KEYS = frozenset({"InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "ExpiredToken",
                      "InvalidAccessKeyId", "IncompleteSignature", "MissingAuthenticationToken"})  # fmt: skip


def _code(error: BaseException | None) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def bare(address: str) -> str:
    """The address alone, of one with a name before it.

    >>> bare("Ann Other <ann@example.org>"), bare("ann@example.org")
    ('ann@example.org', 'ann@example.org')
    """
    return parseaddr(address)[1] or address


def answer(code: int, said: bytes | str) -> str:
    """What a server has said, in one line."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return shortened(re.sub(r"\s+", " ", f"it said {code} {text}").strip(), 300)

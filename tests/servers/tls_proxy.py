"""An HTTPS proxy that answers for chosen host names itself, with certificates of its own throw-away CA.

Clients whose server name is fixed reach a local server through it as they would reach the internet from
behind a corporate proxy: HTTPS_PROXY plus an extra CA file. CONNECT to any other name or port is refused,
so a test can't leave the machine by accident.
"""

import contextlib
import datetime as dt
import ipaddress
import os
import re
import shutil
import socket
import socketserver
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Application = Callable[[ssl.SSLSocket, str], None]
"""Serves one decrypted connection made for a host name, until it ends. Raises `ResetConnection` for a TCP
reset instead of an orderly end."""

_CONNECT = re.compile(rb"CONNECT (\[[0-9a-fA-F:.]+\]|[^:\s]+):(\d{1,5}) HTTP/1\.[01]\r?\n")
_MAX_HEADER_LINES = 100


class ResetConnection(Exception):
    """The application wants its client to see a TCP reset now."""


class ThrowawayCA:
    """A certificate authority whose private key never leaves this process's memory."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throw-away test CA")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = self._builder(self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """The CA's certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, names: Iterable[str]) -> tuple[bytes, bytes]:
        """Returns (certificate PEM, private key PEM) of a server certificate for `names`, DNS or IP."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test server")])
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.SubjectAlternativeName([_general_name(name) for name in names]), False),
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False),
        ]
        builder = self._builder(subject, key.public_key())
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        certificate = builder.sign(self._key, hashes.SHA256())
        return (
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            # A faked or slightly slow clock at the client must not make the certificate "not yet valid".
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(now + dt.timedelta(days=30))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class TlsProxy:
    """Listens on 127.0.0.1 and serves `applications` (host name to application) on their port 443.

    Use as a context manager; `port` 0 takes a free port. Leaving the context ends all connections, and
    raises the exceptions that applications let through, so that a broken test server fails its test.
    """

    def __init__(self, applications: Mapping[str, Application], port: int = 0, ca_file: Path | None = None):
        self._applications = dict(applications)
        self._folder = Path(tempfile.mkdtemp(prefix="tls-proxy-"))
        self.ca_file = ca_file or self._folder / "ca.pem"
        self.refused: list[str] = []
        """The `host:port` names asked for and refused."""
        self.connections = 0
        """TLS connections accepted so far."""
        self._failures: list[Exception] = []
        self._open: set[socket.socket] = set()
        self._closing = False
        self._lock = threading.Lock()
        self._tls = self._make_context()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="tls-proxy")
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def env(self) -> dict[str, str]:
        """Environment variables that send a client here, and make it trust the CA; both spellings, because
        clients differ in which one wins."""
        url, ca_file, direct = f"http://127.0.0.1:{self.port}", str(self.ca_file), "127.0.0.1,localhost"
        variables = {"HTTPS_PROXY": url, "https_proxy": url, "NO_PROXY": direct, "no_proxy": direct}
        return variables | dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), ca_file)

    def close(self) -> None:
        """Ends all connections and threads, and deletes the CA file. Raises what applications let through."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with self._lock:
            self._closing = True
            for connection in self._open:
                with contextlib.suppress(OSError):
                    # Not SSLSocket.shutdown, which takes the TLS state away under its reader's feet.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self._server.join()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._failures:
            raise ExceptionGroup("the test server failed while answering", self._failures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make_context(self) -> ssl.SSLContext:
        ca = ThrowawayCA()
        self.ca_file.write_bytes(ca.pem)
        certificate, key = ca.issue(self._applications)
        pair = self._folder / "server.pem"
        with open(pair, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(certificate + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        pair.unlink()
        context.set_alpn_protocols(["http/1.1"])
        return context

    def serve(self, connection: socket.socket) -> None:
        """Handles one client from its CONNECT to its end; called on the connection's own thread."""
        try:
            application, host = self._accept_connect(connection)
            if application is None:
                return
            # The handshake comes later, when close() knows of the socket and can end it.
            with self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as tls:
                self._serve_tls(tls, application, host)
        except OSError:
            # Clients vanish, refuse the certificate or send nonsense: their business, and part of tests.
            return
        except Exception as error:  # the application's own fault, reported by close()
            self._failures.append(error)

    def _serve_tls(self, tls: ssl.SSLSocket, application: Application, host: str) -> None:
        with self._lock:
            if self._closing:
                return
            self._open.add(tls)
        try:
            tls.do_handshake()
            with self._lock:
                self.connections += 1
            application(tls, host)
        except ResetConnection:
            # Closing with a linger time of zero is what makes the kernel send RST rather than FIN.
            tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            with self._lock:
                self._open.discard(tls)

    def _accept_connect(self, connection: socket.socket) -> tuple[Application | None, str]:
        with self._lock:
            if self._closing:
                return None, ""
            self._open.add(connection)
        try:
            # Unbuffered: bytes after the blank line belong to TLS.
            with connection.makefile("rb", buffering=0) as reader:
                request = reader.readline(8192)
                for _ in range(_MAX_HEADER_LINES):
                    if reader.readline(8192) in (b"\r\n", b"\n", b""):
                        break
        finally:
            with self._lock:
                self._open.discard(connection)
        match = _CONNECT.fullmatch(request)
        if match is None:
            connection.sendall(b"HTTP/1.1 405 Only CONNECT\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return None, ""
        host, port = match[1].decode("latin-1").lower(), int(match[2])
        application = self._applications.get(host) if port == 443 else None
        if application is None:
            self.refused.append(f"{host}:{port}")
            connection.sendall(b"HTTP/1.1 403 Not served\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return None, host
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return application, host


class _Server(socketserver.TCPServer):
    """One thread a connection, joined by `join()` after the proxy has shut their sockets."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], proxy: TlsProxy):
        self._proxy = proxy
        self._threads: set[threading.Thread] = set()
        super().__init__(address, socketserver.BaseRequestHandler)

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        thread = threading.Thread(target=self._run, args=(request,), name="tls-proxy-connection", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _run(self, request: socket.socket) -> None:
        try:
            self._proxy.serve(request)
        finally:
            self.shutdown_request(request)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(timeout=10)

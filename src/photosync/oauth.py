"""Signing in with a browser, the same way for every service that speaks OAuth 2 (RFC 6749, 7636, 8252).

    token = in_browser(begin, show)       # the browser comes back by itself, to 127.0.0.1
    token = by_hand(begin, ask, uri)      # a person brings what the browser shows, from any machine

``begin`` is a service's own (`photosync.backends.dropbox_auth.begin`, `photosync.backends.drive_auth.begin`)
with everything but the address to come back to. Nothing here prints, keeps or starts anything.
"""

import contextlib
import html
import os
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from photosync.backends.tokens import WrongState
from photosync.engine.errors import PhotosyncError, describe

FIXED_PORT = 53682
"""For services that only come back to an address that was registered beforehand."""

Token = dict[str, str | float | None]


class Request(Protocol):
    """A sign-in that a person was not asked about yet."""

    url: str
    """To open in a browser."""

    def finish(self, answer: Mapping[str, str]) -> Token:
        """Ends the sign-in.

        Args:
            answer: the query that the service sent the browser back with (code, state, error), or only the
                code, as a person was shown it.

        Raises:
            WrongState: the answer belongs to another sign-in.
            NotSignedIn: the person or the service did not agree.
            Transient: the service could not be reached.
        """


Begin = Callable[[str], Request]


def in_browser(begin: Begin, show: Callable[[str], None], port: int = 0, host: str = "127.0.0.1") -> Token:
    """Waits at an address of this machine's own until the browser brings the answer.

    What comes with a wrong state, or is no answer at all, is turned away and waited past: any page that is
    open in a browser can send it.

    Args:
        begin: makes the request for the address that it is given.
        show: is told the address to open; it must not wait for the browser.
        port: to listen at; 0: any free one.
        host: this machine's name in the address that the service is given; always served at 127.0.0.1.

    Raises:
        OSError: the port is taken.
        NotSignedIn, Transient: see `Request.finish`.
    """
    with _Listener(port) as listener:
        listener.request = begin(f"http://{host}:{listener.server_port}/")
        show(listener.request.url)
        while listener.outcome is None:
            listener.handle_request()
    if isinstance(listener.outcome, PhotosyncError):
        raise listener.outcome
    return listener.outcome


def by_hand(begin: Begin, ask: Callable[[str], str], uri: str) -> Token:
    """Lets a person carry the answer, for machines without a browser.

    Args:
        begin: as above.
        ask: shows the address it is given, and returns what the person brought: a code, or the whole address
            that the browser was sent to (nobody listens there, which does not matter).
        uri: where the service shall send the browser; "": it shows a code instead.

    Raises:
        NotSignedIn, Transient: see `Request.finish`.
    """
    request = begin(uri)
    return request.finish(answer_in(ask(request.url)))


def answer_in(pasted: str) -> dict[str, str]:
    """What a person pasted: the query of an address, or else a code."""
    pasted = pasted.strip().strip("\"'<>")
    if "code=" in pasted or "error=" in pasted:
        with contextlib.suppress(ValueError):
            return dict(parse_qsl(urlsplit(pasted).query or pasted))
    return {"code": pasted}


class _Listener(HTTPServer):
    """Serves one browser, on the thread that waits for it."""

    # On Windows it would let two programs listen at one port; elsewhere it only lets the next sign-in follow
    # at once on the last.
    allow_reuse_address = os.name != "nt"

    def __init__(self, port: int) -> None:
        self.request: Any = None
        self.outcome: Token | PhotosyncError | None = None
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers open connections that they never use; those end here."""

    def answer(self, query: Mapping[str, str]) -> str | None:
        """Takes an answer; returns why it is turned away, if it is."""
        try:
            self.outcome = self.request.finish(query)
        except WrongState as error:
            return describe(error)
        except PhotosyncError as error:
            self.outcome = error
        return None


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    timeout = 2
    server_version, sys_version = "photosync", ""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        # Without a state it is nobody's answer: only a person may bring a bare code.
        answers = "state" in query and {"code", "error"} & query.keys()
        if url.path != "/" or not answers or self.server.outcome is not None:
            self._reply(404, "There is nothing here", "photosync waits for the answer of a sign-in.")
        elif refused := self.server.answer(query):
            self._reply(400, "Not this sign-in", refused)
        elif isinstance(self.server.outcome, PhotosyncError):
            self._reply(400, "Not signed in", describe(self.server.outcome))
        else:
            self._reply(200, "Signed in", "You can close this window and go back to the terminal.")

    def _reply(self, status: int, title: str, text: str) -> None:
        body = (
            f"<!doctype html><meta charset=utf-8><title>photosync: {html.escape(title)}</title>"
            f"<h1>{html.escape(title)}</h1><p>{html.escape(text)}</p>"
        ).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        # The address in the browser's history holds the code.
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """The address of a request holds a code; it is in no log."""

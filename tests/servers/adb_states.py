"""An adb server with phones in states that a daemon without USB cannot be in (AOSP, adb/OVERVIEW.TXT)."""

import contextlib
import socketserver
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def adb_server(rows: str) -> Iterator[int]:
    """Answers ``host:devices-l`` with some lines, and nothing else; gives its port on 127.0.0.1."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if not (size := self.request.recv(4)):
                return
            asked = self.request.recv(int(size, 16))
            text = rows.encode() if asked == b"host:devices-l" else b"no"
            status = b"OKAY" if asked == b"host:devices-l" else b"FAIL"
            self.request.sendall(b"%s%04x%s" % (status, len(text), text))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()

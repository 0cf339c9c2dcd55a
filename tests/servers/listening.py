"""What starting any server needs: a port of its own, the moment when it answers, and its end."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable

START_SECONDS = 60.0


def free_port() -> int:
    """A port on 127.0.0.1 that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: "subprocess.Popen[bytes] | None", said: Callable[[], str]) -> None:
    """Waits until something accepts connections on a port.

    Args:
        port: on 127.0.0.1.
        process: the server; its end ends the waiting.
        said: what it wrote so far, for the message.

    Raises:
        RuntimeError: it did not start.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {said()}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

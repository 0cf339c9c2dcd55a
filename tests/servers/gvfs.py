"""GNOME's virtual file system on a session bus of its own, as a desktop runs it: gvfsd and its FUSE mount."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_DAEMONS = ("/usr/libexec/gvfsd", "/usr/libexec/gvfsd-fuse", "/usr/libexec/gvfsd-afc")

_SESSION = """
/usr/libexec/gvfsd --no-fuse &
gvfsd=$!
for _ in $(seq 100); do
    dbus-send --session --print-reply --dest=org.gtk.vfs.Daemon / org.freedesktop.DBus.Peer.Ping && break
    sleep 0.1
done >/dev/null
/usr/libexec/gvfsd-fuse "$XDG_RUNTIME_DIR/gvfs" -f &
fuse=$!
until grep -q " $XDG_RUNTIME_DIR/gvfs " /proc/mounts; do sleep 0.05; done
echo "$DBUS_SESSION_BUS_ADDRESS"
cat
fusermount3 -uzq "$XDG_RUNTIME_DIR/gvfs"
kill $gvfsd $fuse
"""


class Gvfs:
    """A running session.

    Attributes:
        folder: where everything that is mounted shows up.
        env: what makes programs part of the session.
    """

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.env = env

    def mount(self, uri: str) -> Path:
        """Mounts ``afc://UDID/`` or another address; gives its folder."""
        subprocess.run(
            ["gio", "mount", uri], env={**os.environ, **self.env}, check=True, capture_output=True, timeout=60
        )
        scheme, _, host = uri.rstrip("/").partition("://")
        return self.folder / f"{scheme}:host={host}"


def why_not() -> str | None:
    """Why there can be none here, or None."""
    missing = [name for name in _DAEMONS if not os.path.exists(name)]
    missing += [name for name in ("gio", "dbus-run-session", "fusermount3") if shutil.which(name) is None]
    return f"{', '.join(missing)} missing (install gvfs-fuse, gvfs-backends, dbus)" if missing else None


@contextlib.contextmanager
def gvfs(env: dict[str, str]) -> Iterator[Gvfs]:
    """Starts a session, and ends it with all that it mounted.

    Args:
        env: further variables of its daemons.
    """
    with tempfile.TemporaryDirectory(prefix="session-") as runtime:
        os.chmod(runtime, 0o700)
        folder = Path(runtime) / "gvfs"
        folder.mkdir()
        variables = {**env, "XDG_RUNTIME_DIR": runtime}
        process = subprocess.Popen(
            ["dbus-run-session", "--", "sh", "-c", _SESSION],
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, "the session did not start"
            yield Gvfs(folder, {**variables, "DBUS_SESSION_BUS_ADDRESS": address})
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
            subprocess.run(["fusermount3", "-uzq", str(folder)], check=False)

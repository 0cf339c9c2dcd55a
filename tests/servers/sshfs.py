"""The PyPI package ``sshfs``, apart from this environment.

Installed, it takes over the names ``sftp`` and ``ssh`` from fsspec. It is fetched once, with ``asyncssh`` and
nothing else, and kept in the user's cache folder; a process that is to have it gets the folder as PYTHONPATH.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ("sshfs==2026.8.0", "asyncssh==2.24.1")


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "photosync-tests" / "-".join(each.replace("==", "-") for each in PACKAGES)


def fetched() -> Path:
    """The folder to import it from. Waits while another process fetches it.

    Raises:
        RuntimeError: pip could not get it.
    """
    folder = _folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            work = Path(f"{folder}.work")
            shutil.rmtree(work, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", work]
            done = subprocess.run([*command, *PACKAGES], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"pip could not install {' '.join(PACKAGES)}: {done.stderr[-2000:]}")
            work.rename(folder)
    return folder

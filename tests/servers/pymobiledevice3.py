"""The program pymobiledevice3 in an environment of its own, made once and kept in the user's cache folder.

``python3 tests/servers/pymobiledevice3.py`` makes it ahead of the tests. It is not among the packages of the
tests' own environment: it is licensed under the GPL, and nothing here imports it.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "11.45.0"


def folder() -> Path:
    """A folder with the program in it and nothing else, for the PATH; made if it was not yet."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    place = Path(base) / "photosync-tests" / f"pymobiledevice3-{VERSION}-{version}"
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "bin").exists():
            shutil.rmtree(place / "environment", ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", place / "environment"], check=True)
            install = ["-m", "pip", "install", "--quiet", f"pymobiledevice3=={VERSION}"]
            subprocess.run([place / "environment/bin/python", *install], check=True)
            shutil.rmtree(place / "new", ignore_errors=True)
            (place / "new").mkdir()
            (place / "new/pymobiledevice3").symlink_to(place / "environment/bin/pymobiledevice3")
            (place / "new").rename(place / "bin")
    return place / "bin"


if __name__ == "__main__":
    print(folder())

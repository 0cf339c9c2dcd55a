"""libgphoto2's own camera without USB: the wheel of python-gphoto2 loads it where VCAMERADIR names a folder.

The real PTP driver (ptp2) speaks to a simulated port (vusb), behind which a "Nikon DSC D750" has the folder
as its /store_00010001. What it does not do: files whose names hold no .jpg, .png, .dng, .gif, .avi or .mpg
are refused (-6), so other formats go by names like IMG_1.jpg.HEIC; names are ASCII; empty files are not
listed; sizes are told modulo 2**32, and as much is sent.
"""

import importlib.util
import shutil
from pathlib import Path

SERIAL = "01"
STORAGE = "store_00010001"
PLACE = "phone@nikon-dsc-d750:"
_KNOWN = (".jpg", ".png", ".dng")


def why_not() -> str | None:
    """Why there can be no such camera here, or None."""
    return None if importlib.util.find_spec("gphoto2") else "gphoto2 is missing (pip install gphoto2)"


def env(folder: Path) -> dict[str, str]:
    """For programs that are to find the camera."""
    return {"VCAMERADIR": str(folder.resolve())}


def with_names_it_knows(source: Path, target: Path) -> Path:
    """A copy of a library under names that the camera gives out, without empty files; gives ``target``."""
    for file in source.rglob("*"):
        if file.is_file() and file.stat().st_size:
            relative = file.relative_to(source)
            known = file.suffix.lower() in _KNOWN
            copy = target / (relative if known else relative.with_suffix(f".jpg{file.suffix}"))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)
    return target

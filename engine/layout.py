"""Where a photo goes at the destination: a template over what is known of it.

    {taken:%Y/%Y-%m}/{name}         2024/2024-05/IMG_0001.HEIC
    {camera}/{stem}.{ext}           iPhone 15 Pro/IMG_0001.HEIC

Slashes of the template, and of a date's format, make folders; whatever a photo, a phone or a camera calls
itself stays one component, below the root.
"""

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from photosync.engine.assets import kind_of
from photosync.engine.media import NOTHING, Facts
from photosync.engine.taken import Taken

FIELDS: Mapping[str, str] = {
    "taken": "when; with a format: {taken:%Y/%Y-%m}",
    "camera": "its model, or its maker",
    "make": "the camera's maker",
    "device": "the source, as it was named",
    "album": "the folder that the file is in",
    "folder": "all folders that it is in",
    "type": "photo, raw, screenshot, video, sidecar or other",
    "name": "the file's name",
    "stem": "the name without its extension",
    "ext": "the extension, without a dot",
    "id": "the content id, 16 digits of it; {id:8}: so many",
}
_CODES = re.compile(r"(?:[^%\ud800-\udfff]|%[YymdHMSjbBaAUWVGupIf%])+\Z")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_LONGEST = 80
_DIGITS = 16


class LayoutError(ValueError):
    """A template that cannot be used; the text says what would."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A template, understood.

    Attributes:
        text: as it was written.
        parts: literal text, and what follows it: a field and its format.
        device: what ``{device}`` stands for.
    """

    text: str
    parts: tuple[tuple[str, str, str], ...]
    device: str = ""

    @classmethod
    def parse(cls, text: str, device: str = "") -> "Layout":
        """Understands a template.

        Raises:
            LayoutError: it names an unknown field, leads out of the root, or does not end in a file name.
        """
        try:
            found = list(string.Formatter().parse(text))
        except ValueError as error:
            raise LayoutError(f"--layout {text!r}: {error}. For a brace itself write two.") from error
        parts = []
        for literal, name, form, conversion in found:
            if name is not None:
                _check(text, name, form or "", conversion)
            parts.append((literal, name or "", form or ""))
        made = cls(text, tuple(parts), _one(device))
        for sample in made._literal().split("/"):
            if not sample or sample.strip() in {".", ".."}:
                raise LayoutError(
                    f"--layout {text!r}: it has to be a path below the destination, such as "
                    "{taken:%Y/%Y-%m}/{name}"
                )
        last = re.split(r"/(?![^{]*\})", text)[-1]
        if not re.search(r"\{(?:name|ext)\}\Z", last):
            raise LayoutError(
                f"--layout {text!r}: the last part has to end in {{name}} or {{ext}}, so that files keep "
                "what programs know them by"
            )
        return made

    def _literal(self) -> str:
        return "".join(literal + ("x" if name else "") for literal, name, _ in self.parts)

    @property
    def needs_content(self) -> bool:
        """Whether a file has to be read whole before its path is known."""
        return any(name == "id" for _, name, _ in self.parts)

    @property
    def needs_facts(self) -> bool:
        """Whether a file has to be looked into."""
        return any(name in {"taken", "camera", "make", "type"} for _, name, _ in self.parts)

    def path(self, source: str, when: Taken, facts: Facts = NOTHING, content: str = "") -> str:
        """Where a file goes.

        Args:
            source: its path at the source.
            when: of the photo that it belongs to.
            facts: of the photo that it belongs to.
            content: content id, if `needs_content`.
        """
        folder, _, whole = source.rpartition("/")
        stem, dot, extension = whole.rpartition(".")
        if not stem:
            stem, dot, extension = whole, "", ""
        values: dict[str, Callable[[str], str]] = {
            "taken": lambda form: _date(when, form),
            "camera": lambda _form: _one(facts.model or facts.make),
            "make": lambda _form: _one(facts.make),
            "device": lambda _form: self.device,
            "album": lambda _form: folder.rpartition("/")[2] or "unknown",
            "folder": lambda _form: folder or "unknown",
            "type": lambda _form: kind_of(source, facts).value,
            "name": lambda _form: whole,
            "stem": lambda _form: stem,
            "ext": lambda _form: extension,
            "id": lambda form: content[: int(form or _DIGITS)],
        }
        made = "".join(before + (values[name](form) if name else "") for before, name, form in self.parts)
        return made if dot else made.removesuffix(".")


def _check(text: str, name: str, form: str, conversion: str | None) -> None:
    if name not in FIELDS:
        known = ", ".join(f"{{{each}}}" for each in FIELDS)
        raise LayoutError(f"--layout {text!r}: there is no field {{{name}}}. There are {known}.")
    if name == "taken":
        good = bool(form) and _CODES.match(form) and "%" in form and not form.startswith("/")
        if not good or form.endswith("/") or "//" in form or {".", ".."} & set(form.split("/")):
            raise LayoutError(
                f"--layout {text!r}: {{taken}} needs a format of dates, such as {{taken:%Y/%Y-%m}}"
            )
    elif conversion or (form and not (name == "id" and form.isdecimal() and 4 <= int(form) <= 64)):
        raise LayoutError(f"--layout {text!r}: {{{name}}} takes no format{' but 4 to 64' * (name == 'id')}")


def _date(when: Taken, form: str) -> str:
    if when.moment is None:
        return "undated"
    # A year below 1000 has fewer digits in C's strftime.
    return when.moment.strftime(form)


def _one(value: str) -> str:
    """A value as one harmless component."""
    plain = " ".join(_UNSAFE.sub("_", value).split())[:_LONGEST].strip(". ")
    return plain or "unknown"

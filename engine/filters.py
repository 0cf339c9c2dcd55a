"""rclone's filter language: which files of a listing are wanted.

The rules are those of rclone's page "Filtering, includes and excludes"; our own translation to Python's
regular expressions. Where rclone's program and its page disagree, a backup must not guess:

* ``[!a]`` negates according to the page but not in the program: refused, with the two ways to say it.
* A pattern with a slash that is not anchored (``Camera/*.jpg``) matches in every folder according to the
  page; the program looks for it at the top only, unless another rule leads it further. We follow the page.
* ``**`` matches newlines, too.
* ``\\]`` inside brackets is a literal bracket, as the page says; the program refuses it.

Patterns are matched against paths relative to the root, without a leading slash. The first rule that matches
decides; a path that no rule matches is wanted.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_S = 10**9
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": _S,
    "m": 60 * _S,
    "h": 3600 * _S,
    "d": 86_400 * _S,
    "w": 7 * 86_400 * _S,
    "M": 30 * 86_400 * _S,
    "y": 365 * 86_400 * _S,
}
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_SPAN = re.compile(rf"({_NUMBER})(ns|us|µs|ms|[smhdwMy])", re.ASCII)
_SPANS = re.compile(rf"([+-]?)((?:{_SPAN.pattern})+|{_NUMBER})", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?)?", re.ASCII)
_SIZE = re.compile(rf"({_NUMBER})(?:(B)|([KMGTPE])(?:i|iB)?)?", re.ASCII | re.IGNORECASE)


class FilterError(ValueError):
    """A rule or limit that can't be understood; the text names it and the place it stands at."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the filter.

    Attributes:
        include: whether files that match are wanted.
        file: finds itself in the path of a file that matches.
        covers: finds itself in a folder's path, with a slash at its end, only if everything below matches.
        steps: the first folders on the way to a match, one pattern each.
        deeper: matches may lie more than one level below the last of them.
    """

    include: bool
    file: re.Pattern[str]
    covers: re.Pattern[str] | None
    steps: tuple[re.Pattern[str], ...]
    deeper: bool

    def reaches(self, folder: str) -> bool:
        """False only if nothing below ``folder`` can match."""
        names = folder.split("/")
        return (self.deeper or len(names) <= len(self.steps)) and all(
            step.search(name) for step, name in zip(self.steps, names, strict=False)
        )


@dataclass(frozen=True, slots=True)
class Filter:
    """Decides which files are wanted. The default wants everything.

    Attributes:
        rules: in the order in which they are tried.
        min_size, max_size: bytes, both allowed themselves; None: no limit.
        min_mtime_ns, max_mtime_ns: nanoseconds since the epoch, likewise.
    """

    rules: tuple[Rule, ...] = ()
    min_size: int | None = None
    max_size: int | None = None
    min_mtime_ns: int | None = None
    max_mtime_ns: int | None = None

    @classmethod
    def parse(
        cls,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        filter_from: Sequence[Path] = (),
        min_size: str | None = None,
        max_size: str | None = None,
        min_age: str | None = None,
        max_age: str | None = None,
        ignore_case: bool = False,
        now_ns: int,
    ) -> "Filter":
        """Reads the options of the same names.

        Args:
            include: patterns; if there are any, what matches no rule at all is not wanted.
            exclude: patterns, tried after those.
            filter_from: files of ``+ pattern``, ``- pattern``, ``!`` (forget all rules so far), empty lines
                and comments (``#``, ``;``), tried last.
            min_size, max_size: a number of KiB, or with a suffix B, K, M, G, T, P (powers of 1,024), or
                "off".
            min_age, max_age: a number of seconds, a sum of spans (``1d12h``; suffixes ms s m h d w M y) back
                from now, a date or time (``2024-01-31``, RFC 3339; local unless it says otherwise), or "off".
            ignore_case: for all patterns.
            now_ns: the time, nanoseconds since the epoch.

        Raises:
            FilterError: a value can't be understood.
            OSError: a file can't be read.
        """
        rules: list[Rule] = []
        for option, wanted, patterns in (("--include", True, include), ("--exclude", False, exclude)):
            for pattern in patterns:
                rules += _compile(pattern, wanted, ignore_case, option)
        for path in filter_from:
            for number, line in enumerate(_lines(path), 1):
                _read_line(rules, line.strip(), ignore_case, f"{path}, line {number}")
        if include:
            rules += _compile("**", False, ignore_case, "--include")
        made = cls(
            tuple(rules),
            _size(min_size, "--min-size"),
            _size(max_size, "--max-size"),
            moment(max_age, now_ns, "--max-age"),
            moment(min_age, now_ns, "--min-age"),
        )
        for low, high, words in (
            (made.min_size, made.max_size, f"--min-size {min_size} is more than --max-size {max_size}"),
            (made.min_mtime_ns, made.max_mtime_ns, f"--min-age {min_age} is more than --max-age {max_age}"),
        ):
            if low is not None and high is not None and low > high:
                raise FilterError(f"{words}: no file can be both. Correct one of them.")
        return made

    def wants(self, entry_path: str, size: int, mtime_ns: int | None) -> bool:
        """Whether a file is wanted. One whose time is not known is not left out for its age."""
        if self.min_size is not None and size < self.min_size:
            return False
        if self.max_size is not None and size > self.max_size:
            return False
        if mtime_ns is not None:
            if self.min_mtime_ns is not None and mtime_ns < self.min_mtime_ns:
                return False
            if self.max_mtime_ns is not None and mtime_ns > self.max_mtime_ns:
                return False
        return next((rule.include for rule in self.rules if rule.file.search(entry_path)), True)

    def enters(self, dir_path: str) -> bool:
        """False only for folders below which `wants` is False for every path, whatever is there."""
        folder = f"{dir_path}/"
        for rule in self.rules:
            if rule.include:
                if rule.reaches(dir_path):
                    return True
            elif rule.covers is not None and rule.covers.search(folder):
                return False
        return True


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        yield from file


def _read_line(rules: list[Rule], line: str, ignore_case: bool, place: str) -> None:
    if not line or line[0] in "#;":
        return
    if line == "!":
        rules.clear()
    elif line[:2] in {"+ ", "- "}:
        rules += _compile(line[2:], line[0] == "+", ignore_case, place)
    else:
        raise FilterError(
            f"{place}: {line!r} is no rule. Begin it with '+ ' to include or '- ' to exclude, or with '#' to "
            "make it a comment."
        )


def _compile(pattern: str, include: bool, ignore_case: bool, place: str) -> list[Rule]:
    """The rule of one pattern; none for the inclusion of a folder, which by itself selects no file."""
    if not pattern:
        raise FilterError(f"{place}: the pattern is empty. Remove it, or use '**' to mean everything.")
    if pattern.endswith("/") and not include:
        pattern += "**"
    flags = re.IGNORECASE if ignore_case else re.NOFLAG
    try:
        file = re.compile(_anchored(pattern), flags)
        covers = None
        if pattern == "*":
            covers = re.compile("")
        elif pattern.endswith("**") and not pattern.endswith("\\**"):
            covers = file
        steps, deeper = _way(pattern, flags)
    except (re.error, _Unclear) as error:
        raise FilterError(f"{place}: the pattern {pattern!r} can't be understood: {error}.") from error
    return [] if pattern.endswith("/") else [Rule(include, file, covers, steps, deeper)]


def _way(pattern: str, flags: re.RegexFlag) -> tuple[tuple[re.Pattern[str], ...], bool]:
    if not pattern.startswith("/"):
        return (), True
    steps: list[re.Pattern[str]] = []
    parts = pattern[1:].split("/")
    for part in parts:
        # These may match a slash, or hold one of the slashes that the pattern was split at.
        if re.search(r"[\[\\]|\*\*|\{\{", part) or part.count("{") != part.count("}"):
            return tuple(steps), True
        steps.append(re.compile(_anchored(f"/{part}"), flags))
    return tuple(steps[:-1]), False


class _Unclear(Exception):
    """A pattern is not well formed; the text says why."""


_GLOB = re.compile(
    r"""
      \{\{ (?P<regexp> .*? ) \}\}(?!\})
    | \[ (?P<not> \^? ) (?P<set> (?: \\. | \[:\w+:\] | [^]\[\\] )+ ) \]
    | \\ (?P<escaped> . )
    | (?P<stars> \*+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
# Go's \d, \s, \w and \b know ASCII only, Python's know Unicode.
_PERL = {
    "d": "0-9",
    "s": r"\t\n\f\r\ ",
    "w": "0-9A-Za-z_",
}
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t\ ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": r"\ -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r\ ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}


def _anchored(pattern: str) -> str:
    """The regular expression that `re.Pattern.search` finds in paths that match."""
    if pattern.startswith("/"):
        return rf"\A{_translate(pattern[1:])}\Z"
    return rf"(?:\A|/){_translate(pattern)}\Z"


def _translate(glob: str) -> str:
    out: list[str] = []
    depth = 0
    for token in _GLOB.finditer(glob):
        kind = token.lastgroup
        text = token[0]
        if kind == "regexp":
            out.append(f"(?:{_regexp(token['regexp'])})")
        elif kind == "set":
            out.append(_set(token["not"], token["set"]))
        elif kind == "escaped":
            out.append(_escape(token["escaped"]))
        elif kind == "stars":
            if len(text) > 2:
                raise _Unclear("more than two stars in a row; '**' means any path")
            out.append("[^/]*" if len(text) == 1 else "(?s:.*)")
        elif text == "?":
            out.append("[^/]")
        elif text == "{":
            depth += 1
            out.append("(?:")
        elif text == "," and depth:
            out.append("|")
        elif text == "}" and depth:
            depth -= 1
            out.append(")")
        elif text in "[]}\\":
            raise _Unclear(f"a stray {text!r}; for the character itself write '\\{text}'")
        else:
            out.append(re.escape(text))
    if depth:
        raise _Unclear("a '{' is never closed; for the character itself write '\\{'")
    return "".join(out)


def _escape(char: str) -> str:
    if char.lower() in _PERL:
        return f"[{'^' if char.isupper() else ''}{_PERL[char.lower()]}]"
    if char.isalnum():
        raise _Unclear(f"'\\{char}' has no meaning here; in a regular expression, {{{{…}}}}, it may")
    return re.escape(char)


def _set(negated: str, members: str) -> str:
    if members.startswith("!"):
        raise _Unclear(
            "'[!' means \"none of these\" in rclone's manual, but the character '!' in rclone itself; "
            "write '[^' for the one or '[\\!' for the other"
        )
    out = []
    for part in re.findall(r"\\.|\[:\w+:\]|.", members, re.DOTALL):
        if part.startswith("[:"):
            out.append(_posix(part))
        elif part.startswith("\\"):
            if part[1].lower() not in _PERL:
                out.append(_escape(part[1]))
            elif part[1].isupper():
                raise _Unclear(f"'{part}' in brackets; write it outside, or list what you mean")
            else:
                out.append(_PERL[part[1]])
        else:
            # After another hyphen Python warns of a difference of sets, which it does not have yet.
            out.append(part if part == "-" and out[-1:] != ["-"] else re.escape(part))
    return f"[{negated}{''.join(out)}]"


def _posix(part: str) -> str:
    name = part[2:-2]
    if name not in _POSIX:
        raise _Unclear(f"there is no character class {part}")
    return _POSIX[name]


def _regexp(body: str) -> str:
    """A Go regular expression in Python's words; what the two understand differently is refused."""
    flags = ""
    if found := re.match(r"\(\?([is]+)\)", body):
        flags, body = found[1], body[found.end() :]
    out = []
    inside = False
    for part in re.findall(r"\\.|\(\?P?.?|\[:\w+:\]|\[\^?\]?|.", body, re.DOTALL):
        if part.startswith("\\") and part[1:].lower() in _PERL:
            if part[1].islower() and inside:
                out.append(_PERL[part[1]])
            elif inside:
                raise _Unclear(f"'{part}' in brackets; list what you mean")
            else:
                out.append(_escape(part[1]))
        elif part.startswith("\\") and part[1:].isdigit():
            raise _Unclear(f"'{part}': neither back references nor octal escapes are supported")
        elif inside and part.startswith("[:"):
            out.append(_posix(part))
        elif inside:
            inside = part != "]"
            out.append(re.escape(part) if part[0] in "[&|~" else part)
        elif part[0] == "[":
            inside = True
            out.append(part)
        elif part.startswith("(?") and part not in {"(?:", "(?P<", "(?i", "(?s", "(?-"}:
            raise _Unclear(f"'{part}' is not supported")
        else:
            out.append({r"\b": r"(?a:\b)", r"\B": r"(?a:\B)", r"\z": r"\Z", "$": r"\Z"}.get(part, part))
    text = "".join(out)
    return f"(?{flags}:{text})" if flags else text


def _size(text: str | None, option: str) -> int | None:
    if text is None or text.lower() == "off":
        return None
    found = _SIZE.fullmatch(text)
    if not found:
        raise FilterError(
            f"{option}: {text!r} is no size. Write a number with B, K, M, G, T or P, such as 10M."
        )
    power = 0 if found[2] else "KMGTPE".index((found[3] or "K").upper()) + 1
    return int(float(found[1]) * 1024**power)


def moment(text: str | None, now_ns: int, option: str) -> int | None:
    """Nanoseconds since the epoch of a date in local time ("2024-01-31"), or of an age before now ("30d").

    Raises:
        FilterError: it is neither.
    """
    if text is None or text == "off":
        return None
    if found := _SPANS.fullmatch(text):
        spans = _SPAN.findall(found[2]) or [(found[2], "s")]
        span = sum(round(float(number) * _UNITS[unit]) for number, unit in spans)
        return now_ns + span if found[1] == "-" else now_ns - span
    try:
        if not _DATE.fullmatch(text):
            raise ValueError(text)
        return round(datetime.fromisoformat(text).astimezone().timestamp() * 10**6) * 10**3
    except (ValueError, OverflowError) as error:
        raise FilterError(
            f"{option}: {text!r} is neither an age nor a date. Write 1d12h, 2w, 2024-01-31 or "
            "2024-01-31T12:00:00Z."
        ) from error

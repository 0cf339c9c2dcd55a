"""What every command is given: where the configuration is, how much to say, where the log goes."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from photosync.output import Output
    from photosync.session import Session

_sessions: "list[Session]" = []


@dataclass(slots=True)
class Context:
    """Options that stand before the command.

    Attributes:
        config: from ``--config``.
        verbosity: -1: only what went wrong; 0: usual; more: more.
        log_file: from ``--log-file``.
    """

    config: Path | None
    verbosity: int
    log_file: Path | None

    def louder(self, verbose: int, quiet: bool, log_file: Path | None) -> None:
        """The same options may stand behind the command, as with rclone."""
        if quiet:
            self.verbosity = -1
        elif verbose:
            self.verbosity = max(self.verbosity, 0) + verbose
        self.log_file = log_file or self.log_file
        self._start_log()

    def session(self) -> "Session":
        from photosync.session import Session

        self._start_log()
        session = Session(self.config)
        _sessions.append(session)
        return session

    def output(self, as_json: bool) -> "Output":
        from photosync.output import Json, People

        if as_json:
            return Json()
        return People(self.verbosity, progress=sys.stderr.isatty())

    def _start_log(self) -> None:
        log = logging.getLogger("photosync")
        if self.log_file is not None and not log.handlers:
            handler = logging.FileHandler(self.log_file, encoding="utf-8", errors="backslashreplace")
            handler.setFormatter(_Redacted("%(asctime)s %(levelname)s %(message)s"))
            log.addHandler(handler)
            log.setLevel(logging.DEBUG if self.verbosity > 0 else logging.INFO)


class _Redacted(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def redact(text: str) -> str:
    """The text without any credential that this process has read."""
    for session in _sessions:
        text = session.redact(text)
    return text

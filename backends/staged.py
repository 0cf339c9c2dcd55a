"""Text over files that are published whole or not at all."""

import io
from types import TracebackType
from typing import Any, Protocol, Self


class Staged(Protocol):
    """A binary file object that gets its name when it is closed, or never, after `discard`."""

    @property
    def closed(self) -> bool: ...

    def discard(self) -> None: ...


class StagedText(io.TextIOWrapper):
    """Text to a staged file. The standard wrapper closes it, and so publishes, whatever happened.

    Args:
        file: a binary file object with the methods of `Staged`.
        options: as for `io.TextIOWrapper`.
    """

    def __init__(self, file: Any, **options: Any) -> None:
        super().__init__(file, **options)
        self._file: Staged = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.discard()

    def __del__(self) -> None:
        if not self._file.closed:
            self._file.discard()

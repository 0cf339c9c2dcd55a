"""Ids that files get before they exist.

Drive lets two files have one name, so whoever repeats a create whose reply was lost makes a second file.
With an id that was chosen before, the second create is refused (409) and the first one found by its id.
Source: "Generate IDs to use with your files" in the Drive API's guides.
"""

import threading
from collections import deque
from collections.abc import Callable

BATCH = 1000
"""The most that files.generateIds gives at once."""


class Ids:
    """Hands out ids, each once.

    Args:
        generate: asks the service for so many.
    """

    def __init__(self, generate: Callable[[int], list[str]]) -> None:
        self._generate = generate
        self._lock = threading.Lock()
        self._ready: deque[str] = deque()

    def take(self) -> str:
        """An id that nothing has."""
        with self._lock:
            if not self._ready:
                self._ready.extend(self._generate(BATCH))
            return self._ready.popleft()

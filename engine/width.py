"""How many calls to a place are worth having in flight at once."""


class Width:
    """Adapts itself to one place.

    More calls are tried as long as that brings more; the last step is taken back when it did not, and half of
    them are left when the place refuses one. From time to time the next step is tried again: lines change.

    Args:
        most: calls that the place, or the user, allows.

    Attributes:
        limit: calls to have in flight now.
    """

    FIRST = 8
    LONG = 0.1
    """Seconds to look at least before judging."""
    WORTH = 1.1
    """What twice as many calls must bring to be kept."""
    REST = 20
    """Judgements to skip after a step that brought nothing."""
    EACH = 64 << 10
    """Bytes that a call counts beside those it carries: small files are a matter of calls."""

    def __init__(self, most: int) -> None:
        self.limit = min(most, self.FIRST)
        self._most = most
        self._began: float | None = None
        self._work = 0
        self._calls = 0
        self._idle = False
        self._before: tuple[int, float] | None = None
        self._rest = 0

    def took(self, size: int, now: float, *, full: bool) -> None:
        """Bytes of a file arrived.

        Args:
            size: how many.
            now: seconds on a clock that never goes back.
            full: as many calls were in flight as may be; else more would not have helped.
        """
        # Read once: a refusal on another thread may take it away.
        began = self._began
        if began is None:
            self._began = now
            return
        self._work += size + self.EACH
        self._calls += 1
        self._idle = self._idle or not full
        if self._calls < 2 * self.limit or now - began < self.LONG:
            return
        rate, idle = self._work / (now - began), self._idle
        self._look_anew(now)
        if not idle:
            self._judge(rate)

    def _look_anew(self, now: float | None) -> None:
        self._began, self._work, self._calls, self._idle = now, 0, 0, False

    def _judge(self, rate: float) -> None:
        before = self._before
        if before is not None and rate < before[1] * self.WORTH:
            self.limit, self._before, self._rest = before[0], None, self.REST
        elif self._rest:
            self._rest -= 1
        elif self.limit < self._most:
            self._before = self.limit, rate
            self.limit = min(self._most, 2 * self.limit)
        else:
            self._before = None

    def refused(self) -> None:
        """The place refused a call for being one too many."""
        self.limit = max(1, self.limit // 2)
        self._before, self._rest = None, self.REST
        self._look_anew(None)

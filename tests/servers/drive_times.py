"""Times as Google writes them: RFC 3339 in UTC with milliseconds; kept as milliseconds since the epoch."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time; without an offset it is UTC. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return ((found if found.tzinfo else found.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)


def format_time(milliseconds: int) -> str:
    found = _EPOCH + timedelta(milliseconds=milliseconds)
    return found.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"

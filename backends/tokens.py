"""What the sign-ins of all services have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from photosync.engine.errors import NotSignedIn

Token = Mapping[str, str | float | None]


class WrongState(NotSignedIn):
    """An answer to another question than the one that was asked."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose account it is.

    Attributes:
        id: the service's own, which stays when names and addresses change.
        text: name and address, for people.
    """

    id: str
    text: str


@runtime_checkable
class Signed(Protocol):
    """A store at a service that knows who is signed in."""

    def who(self) -> Identity:
        """Asks the service, in one request.

        Raises:
            NotSignedIn: the sign-in is not valid any more.
            Transient: the service could not be reached.
        """
        ...

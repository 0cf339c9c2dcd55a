"""Signatures over HEAD and FREED, for destinations that somebody else might write to.

HEAD names the root of the tree, the record of the snapshot before it and every pack by its hash: who signs it
vouches for every file and for the whole history. Ed25519 (RFC 8032), by the package cryptography. Which keys
are believed at a destination is kept in its journal: those that were named, or else the one that the first
signed HEAD was seen to have. From then on everything else is refused.

What was signed once stays signed: an older HEAD is good as far as its signature goes. It is refused by the
number of the newest snapshot that this machine has seen. A machine that has seen none cannot tell.

FREED (`photosync.engine.spared`) changes without a snapshot, so it has a signature and a number of its own,
and HEAD says which one there is at least.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from photosync.engine.errors import Fatal
from photosync.engine.manifest import RolledBack
from photosync.engine.nodes import ManifestError

CONTEXT = b"photosync HEAD 1\n"
"""What is signed begins with it, so that no signature made for anything else can stand for one."""
FREED_CONTEXT = b"photosync FREED 1\n"
"""The same for FREED."""
_HEX_KEY = 64
_HEX_LIBRARY = 32
_FREED = ".photosync/FREED"
_MISSING = "signed manifests need a package. Run: pip install 'photosync-engine[crypt]'"


class Untrusted(ManifestError):
    """HEAD is not signed as it must be here."""

    remedy = (
        "Nothing was read or written on its word. If the key was changed on purpose, say so with "
        "`photosync key trust DESTINATION KEY`; otherwise find out who wrote there"
    )


class FreedUntrusted(Untrusted):
    """FREED is not the one that has to be there."""

    remedy = (
        "It says which copies are the only ones, and nothing is removed without it. Find out who wrote "
        "there. Then, on the machine that freed the photos, `photosync manifest sign DESTINATION` signs what "
        "it names and what that machine knows. `photosync copy` never deletes"
    )


@dataclass(frozen=True, slots=True)
class Signature:
    """As HEAD holds it: public key (32 bytes) and signature (64 bytes) in lowercase hex."""

    key: str
    signature: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Which FREED it is.

    Attributes:
        blake3: BLAKE3-256 of what is signed of it, hex.
        library: random id, 32 digits, drawn when the library's first FREED was signed.
        number: 1 for that, one more each time it is written.
    """

    blake3: str
    library: str
    number: int

    @property
    def sound(self) -> bool:
        return (
            _is_hex(self.blake3, _HEX_KEY)
            and _is_hex(self.library, _HEX_LIBRARY)
            and 1 <= self.number < 1 << 63
        )


class Facts(Protocol):
    """Where what is known of a destination is kept: `photosync.engine.journal.Journal`."""

    def fact(self, name: str, /) -> str | None: ...
    def set_fact(self, name: str, value: str, /) -> None: ...


class Signer:
    """A private key.

    Args:
        path: of its file, PEM (PKCS 8) without a password.

    Raises:
        Fatal: it cannot be read, or is no Ed25519 key.
    """

    def __init__(self, path: Path) -> None:
        ed25519, serialization = _library()
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise Fatal(f"the signing key {path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise Fatal(f"{path} is no signing key. Make one with: photosync key new FILE") from error
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise Fatal(f"{path} is a key of another kind. Make one with: photosync key new FILE")
        self._key: Any = key

    @property
    def public(self) -> str:
        """The public key in hex, which others need to check signatures."""
        return str(self._key.public_key().public_bytes_raw().hex())

    def sign(self, body: bytes, context: bytes = CONTEXT) -> Signature:
        """Signs the canonical body of a HEAD, or of what else the context says."""
        return Signature(self.public, self._key.sign(context + body).hex())


def new_key(path: Path) -> Signer:
    """Makes a private key in a new file that its owner alone may read.

    Raises:
        FileExistsError: the file is there.
    """
    ed25519, serialization = _library()
    data = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return Signer(path)


def is_public_key(text: str) -> bool:
    """Whether a text is a public key as `Signer.public` spells it."""
    return _is_hex(text, _HEX_KEY)


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and not set(text) - set("0123456789abcdef")


def is_valid(body: bytes, found: Signature, context: bytes = CONTEXT) -> bool:
    """Whether a signature was made for this body by the key that it names.

    Raises:
        Fatal: the package that can tell is missing.
    """
    ed25519, _ = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(found.key))
        key.verify(bytes.fromhex(found.signature), context + body)
    except (InvalidSignature, ValueError):
        return False
    return True


class Trust:
    """Whose HEAD is believed at one destination, and who signs it.

    Args:
        facts: where that is remembered.
        place: the destination's identity.
    """

    def __init__(self, facts: Facts, place: str) -> None:
        self._facts = facts
        self._name = f"trust {place}"
        self._freed_name = f"freed {place}"
        kept = json.loads(facts.fact(self._name) or "{}")
        self.keys: list[str] = kept.get("keys", [])
        self._signs: str | None = kept.get("signs")
        self._seen: tuple[int, str] | None = tuple(kept["seen"]) if kept.get("seen") else None
        self._told: bool = kept.get("told", True)
        self._begins: bool = kept.get("begins", False)

    @property
    def unsigned_yet(self) -> bool:
        """This machine has begun to sign here by itself, and no signed HEAD was seen yet. Whoever was told
        the key was told, too, that HEAD is signed."""
        return self._begins

    def sign_with(self, path: Path) -> None:
        """Has every HEAD that this machine writes signed from now on, and believes no other.

        Raises:
            Fatal: it is no usable key.
            Untrusted: other keys are believed at this destination.
        """
        public = Signer(path).public
        if self.keys and public not in self.keys:
            raise Untrusted(f"the manifest there is signed by {self.keys[0][:16]}…, not by {path}")
        self._begins = self._begins or not self.keys
        self.keys, self._signs = [public], str(path.absolute())
        self._keep()

    def believe(self, public: str | None) -> None:
        """Believes one public key only, or none (None), and forgets what was seen."""
        if public is None or [public] != self.keys:
            self._signs = None
        self.keys, self._begins = [public] if public else [], False
        self.forget_seen()
        self.forget_freed()

    def forget_seen(self) -> None:
        """Forgets which snapshot was the newest: the manifest is begun anew on purpose."""
        self._seen = None
        self._keep()

    def forget_freed(self) -> None:
        """Forgets which FREED was the newest."""
        self._facts.set_fact(self._freed_name, "")

    @property
    def freed(self) -> Mark | None:
        """The newest signed FREED that was seen here, or that a signed HEAD told of."""
        # Kept apart and read each time: it changes while another `Trust` of the same place is in use.
        kept = self._facts.fact(self._freed_name)
        return Mark(**json.loads(kept)) if kept else None

    def accept(
        self, body: bytes, found: Signature | None, number: int, root: str, freed: Mark | None = None
    ) -> None:
        """Believes a HEAD that was read.

        Args:
            body: its canonical form without signature.
            found: the signature that it holds.
            number, root: of its snapshot.
            freed: the FREED that it tells of.

        Raises:
            Untrusted: it is not signed, or not rightly, or by somebody else.
            RolledBack: it is older than one that was seen, or another one of the same number.
            FreedUntrusted: two machines wrote FREED at once, or an older one was put back before one of them
                did.
        """
        if found is None:
            if self.keys and not self.unsigned_yet:
                raise Untrusted(
                    "the manifest there has to be signed, and is not. If it never was, begin with "
                    "`photosync key trust DESTINATION none`"
                )
            return
        self._check(body, found, CONTEXT, "the manifest there", Untrusted)
        if self._seen is not None:
            newest, seen = self._seen
            if number < newest:
                raise RolledBack(f"snapshot {newest} was seen there, signed, and now it is at {number}")
            if number == newest and root != seen:
                raise RolledBack(f"the signed snapshot {newest} there is not the one that was seen")
        if freed is not None:
            before = self.freed
            if before is not None and freed.library != before.library:
                raise RolledBack("the signed manifest there is of another library than was seen")
            if before is not None and _is_another(freed, before):
                raise FreedUntrusted(
                    f"the signed manifest there tells of another {_FREED} with the number {freed.number} "
                    "than was seen"
                )
            if before is None or freed.number > before.number:
                self.wrote_freed(freed)
        self.wrote(number, root)

    def _check(
        self, body: bytes, found: Signature, context: bytes, what: str, error: type[Untrusted]
    ) -> None:
        """Whether a key that is believed signed it, which the first key that is seen here is."""
        if not is_valid(body, found, context):
            raise error(f"{what} holds a signature that was not made for it")
        if not self.keys:
            self.keys, self._told = [found.key], False
            self._keep()
        if found.key not in self.keys:
            raise error(f"{what} is signed by {found.key[:16]}…, who is not believed")

    def accept_freed(self, body: bytes, found: Signature | None, mark: Mark | None) -> None:
        """Believes a FREED that was read.

        Args:
            body: its canonical form without signature.
            found: the signature that it holds; None: it is unsigned.
            mark: which one it says it is; None: it is unsigned.

        Raises:
            FreedUntrusted: it is not signed as it has to be, or not the newest that was seen.
        """
        seen = self.freed
        if found is None or mark is None:
            if seen is not None or (self.keys and not self.unsigned_yet):
                raise FreedUntrusted(f"{_FREED} has to be signed, and is not")
            return
        self._check(body, found, FREED_CONTEXT, _FREED, FreedUntrusted)
        if seen is not None:
            if mark.number < seen.number:
                raise FreedUntrusted(f"{_FREED} is number {mark.number}, and number {seen.number} was there")
            if _is_another(mark, seen):
                raise FreedUntrusted(
                    f"{_FREED} is not the one that was seen there, nor one that came after it"
                )
        self.wrote_freed(mark)

    def missing_freed(self) -> None:
        """There is no FREED.

        Raises:
            FreedUntrusted: there has to be one.
        """
        if (seen := self.freed) is not None:
            raise FreedUntrusted(f"{_FREED} is gone, and number {seen.number} was there, signed")

    def wrote_freed(self, mark: Mark) -> None:
        """Remembers the newest signed FREED."""
        self._facts.set_fact(self._freed_name, json.dumps(asdict(mark)))

    def missing(self) -> None:
        """There is no HEAD.

        Raises:
            RolledBack: a signed one was seen there.
        """
        if self._seen is not None:
            raise RolledBack(f"snapshot {self._seen[0]} was seen there signed, and now there is none")

    def sign(self, body: bytes, context: bytes = CONTEXT) -> Signature | None:
        """The signature for a HEAD, or for what else the context says, that is about to be written; None
        where none is wanted.

        Raises:
            Untrusted: one is, and this machine has no key.
        """
        if self._signs is not None:
            return Signer(Path(self._signs)).sign(body, context)
        if self.keys:
            raise Untrusted("the manifest there is signed, and this machine has no key: give --sign KEYFILE")
        return None

    def wrote(self, number: int, root: str) -> None:
        """Remembers the newest signed snapshot."""
        if self.keys and self._seen != (number, root):
            self._seen, self._begins = (number, root), False
            self._keep()

    def news(self) -> str:
        """What people have to be told once: that a key was believed at first sight. Empty: nothing."""
        if self._told:
            return ""
        self._told = True
        self._keep()
        return (
            f"the manifest is signed by {self.keys[0]}, which is believed from now on. "
            "Compare it with `photosync key show FILE` on the machine that signs"
        )

    def _keep(self) -> None:
        kept = {
            "keys": self.keys,
            "signs": self._signs,
            "seen": self._seen,
            "told": self._told,
            "begins": self._begins,
        }
        self._facts.set_fact(self._name, json.dumps(kept))


def _is_another(mark: Mark, seen: Mark) -> bool:
    return mark.library != seen.library or (mark.number == seen.number and mark.blake3 != seen.blake3)


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise Fatal(_MISSING) from None
    return ed25519, serialization

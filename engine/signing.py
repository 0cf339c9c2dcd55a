"""Signatures over HEAD, for destinations that somebody else might write to.

HEAD names the root of the tree, the record of the snapshot before it and every pack by its hash: who signs it
vouches for every file and for the whole history. Ed25519 (RFC 8032), by the package cryptography. Which keys
are believed at a destination is kept in its journal: those that were named, or else the one that the first
signed HEAD was seen to have. From then on everything else is refused.

What was signed once stays signed: an older HEAD is good as far as its signature goes. It is refused by the
number of the newest snapshot that this machine has seen. A machine that has seen none cannot tell.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from photosync.engine.errors import Fatal
from photosync.engine.manifest import RolledBack
from photosync.engine.nodes import ManifestError

CONTEXT = b"photosync HEAD 1\n"
"""What is signed begins with it, so that no signature made for anything else can stand for one."""
_HEX_KEY = 64
_MISSING = "signed manifests need a package. Run: pip install 'photosync-engine[crypt]'"


class Untrusted(ManifestError):
    """HEAD is not signed as it must be here."""

    remedy = (
        "Nothing was read or written on its word. If the key was changed on purpose, say so with "
        "`photosync key trust DESTINATION KEY`; otherwise find out who wrote there"
    )


@dataclass(frozen=True, slots=True)
class Signature:
    """As HEAD holds it: public key (32 bytes) and signature (64 bytes) in lowercase hex."""

    key: str
    signature: str


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

    def sign(self, body: bytes) -> Signature:
        """Signs the canonical body of a HEAD."""
        return Signature(self.public, self._key.sign(CONTEXT + body).hex())


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
    return len(text) == _HEX_KEY and not set(text) - set("0123456789abcdef")


def is_valid(body: bytes, found: Signature) -> bool:
    """Whether a signature was made for this body by the key that it names.

    Raises:
        Fatal: the package that can tell is missing.
    """
    ed25519, _ = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(found.key))
        key.verify(bytes.fromhex(found.signature), CONTEXT + body)
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

    def forget_seen(self) -> None:
        """Forgets which snapshot was the newest: the manifest is begun anew on purpose."""
        self._seen = None
        self._keep()

    def accept(self, body: bytes, found: Signature | None, number: int, root: str) -> None:
        """Believes a HEAD that was read.

        Args:
            body: its canonical form without signature.
            found: the signature that it holds.
            number, root: of its snapshot.

        Raises:
            Untrusted: it is not signed, or not rightly, or by somebody else.
            RolledBack: it is older than one that was seen, or another one of the same number.
        """
        if found is None:
            if self.keys and not self.unsigned_yet:
                raise Untrusted(
                    "the manifest there has to be signed, and is not. If it never was, begin with "
                    "`photosync key trust DESTINATION none`"
                )
            return
        if not is_valid(body, found):
            raise Untrusted("the manifest there holds a signature that was not made for it")
        if not self.keys:
            self.keys, self._told = [found.key], False
        if found.key not in self.keys:
            raise Untrusted(f"the manifest there is signed by {found.key[:16]}…, who is not believed")
        if self._seen is not None:
            newest, seen = self._seen
            if number < newest:
                raise RolledBack(f"snapshot {newest} was seen there, signed, and now it is at {number}")
            if number == newest and root != seen:
                raise RolledBack(f"the signed snapshot {newest} there is not the one that was seen")
        self.wrote(number, root)

    def missing(self) -> None:
        """There is no HEAD.

        Raises:
            RolledBack: a signed one was seen there.
        """
        if self._seen is not None:
            raise RolledBack(f"snapshot {self._seen[0]} was seen there signed, and now there is none")

    def sign(self, body: bytes) -> Signature | None:
        """The signature for a HEAD that is about to be written; None where none is wanted.

        Raises:
            Untrusted: one is, and this machine has no key.
        """
        if self._signs is not None:
            return Signer(Path(self._signs)).sign(body)
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


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise Fatal(_MISSING) from None
    return ed25519, serialization

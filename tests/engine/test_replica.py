"""Where the files of a snapshot are looked for."""

import pytest
from blake3 import blake3

from photosync.engine.beside import waiting
from photosync.engine.entry import Entry
from photosync.engine.manifest import ManifestEntry, MemoryNodes, build
from photosync.engine.names import DRIVE, DROPBOX, POSIX, S3, NameRules, decode, encode
from photosync.engine.replica import Holdings, find_places
from photosync.engine.scan import Listing

STAMP = "20261125T081500Z"


def recorded(path: str, data: bytes) -> ManifestEntry:
    digest = blake3(data).hexdigest()
    return ManifestEntry(path, len(data), 1, digest, digest, (digest[:32],))


LONG = [
    "é" * 124 + ".jpg",
    "a%3Ab/" + "x" * 200 + "%~" + "0a" * 10 + ".jpg",
    "d%3A/" * 200 + "x" * 15 + ".jpg",
]


@pytest.mark.parametrize("rules", [POSIX, DROPBOX, S3])
@pytest.mark.parametrize(
    "name", ["a/b.jpg", "a.b/c", "~x~.jpg", ".hidden", "b~0123abcd.jpg", "%C3%A9.jpg", *LONG]
)
def test_what_was_replaced_and_waits_is_found_for_an_earlier_snapshot(rules: NameRules, name: str) -> None:
    """Its run failed, so that it is not in the trash yet."""
    nodes = MemoryNodes()
    old, new = recorded(decode(name), b"old"), recorded(decode(name), b"edited")
    at = waiting(name, STAMP, rules)
    assert encode(at.replace("%", "_"), rules) == at.replace("%", "_"), "it is too long"
    assert waiting(f"{name[:-5]}y{name[-4:]}", STAMP, rules) != at
    listing = Listing([Entry(name, 6), Entry(at, 3), Entry("z.jpg", 3)])
    holdings = Holdings(listing, [], build([new], nodes), rules)
    assert find_places([old], holdings, nodes) == {old.content: [at, "z.jpg"]}
    assert find_places([new], holdings, nodes) == {new.content: [name]}


def test_what_another_file_of_its_name_hides_is_found() -> None:
    """Somebody stored an older file of that name at Google Drive, which is shown under it from now on."""
    nodes = MemoryNodes()
    one, other = recorded("a/b.jpg", b"mine"), recorded("a/c.jpg", b"else")
    listing = Listing([Entry("a/b.jpg", 9), Entry("a/b~id-0123abcd.jpg", 4), Entry("a/c.jpg", 4)])
    holdings = Holdings(listing, [], build([one, other], nodes), DRIVE)
    assert find_places([one], holdings, nodes) == {one.content: ["a/b~id-0123abcd.jpg"]}

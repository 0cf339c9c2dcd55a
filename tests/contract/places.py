"""The part of the contract that is about names, listings and what is there already."""

import unicodedata
from collections.abc import Callable
from typing import Literal

import pytest

from photosync.engine.capabilities import MakesFolders, ServerCopies, Store
from photosync.engine.entry import Entry, Kind
from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    NameRefused,
    PhotosyncError,
    Transient,
    Unsupported,
)
from photosync.engine.hashing import fingerprint
from photosync.engine.names import Names, decode, match_key
from photosync.testing.helpers import MTIME, OUTSIDE, attempt, blob, content, files, put, read

_ODD = (
    "IMG 1.jpg",
    " leading and trailing ",
    "trailing dot.",
    "100%.jpg",
    "100%25.jpg",
    "a+b&c=d;e,f'g\"h.jpg",
    "what?*[x]{y}<z>|.jpg",
    "a:b\\c.jpg",
    "~$lock.jpg",
    "-rf",
    "CON.jpg",
    ".hidden",
    ".photosync-mine",
    "new\nline\ttab\x7f.jpg",
    "日本語.jpg",
    "👨‍👩‍👧.jpg",
    "\u202egpj.exe",
    "caf\u00e9.jpg",
    "cafe\u0301.jpg",
    "IMG_1.JPG",
    "img_1.jpg",
    "Straße",
    "STRASSE",
    "\udcff.jpg",
    "long " + 40 * "né" + ".jpg",
    "over" + 300 * "x" + ".jpg",
)


def _form(name: str, form: Literal["NFC"] | None) -> str:
    return unicodedata.normalize(form, name) if form else name


class PlaceContract:
    """Mixed into `photosync.testing.StoreContract`."""

    # names

    def test_odd_names(self, store: Store) -> None:
        rules = store.capabilities.names
        names = Names(rules)
        wanted = {names.assign(f"{folder}/{name}"): name for folder in ("DCIM", "dcim") for name in _ODD}
        assert len(wanted) == 2 * len(_ODD)
        blobs = [blob(store, path, path.encode(errors="surrogateescape")) for path in wanted]
        step = min(store.capabilities.batch.count, 16)
        for at in range(0, len(blobs), step):
            for result in store.put(blobs[at : at + step]):
                if isinstance(result, Exception):
                    raise result
        # Dropbox, for one, keeps names in NFC whatever it is given.
        found = {match_key(path, rules): path for path in files(store)}
        assert set(found) == {match_key(path, rules) for path in wanted}
        for path, name in wanted.items():
            kept = found[match_key(path, rules)]
            assert rules.fold_unicode or kept == path
            form: Literal["NFC"] | None = "NFC" if rules.fold_unicode else None
            assert "%~" in kept or _form(decode(kept).partition("/")[2], form) == _form(name, form)
            assert read(store, kept) == path.encode(errors="surrogateescape")
            assert store.stat(kept).path == kept

    @pytest.mark.parametrize("path", OUTSIDE)
    def test_confined_to_its_root(self, store: Store, path: str) -> None:
        put(store, "a/inside.jpg")
        with pytest.raises(NameRefused):
            store.stat(path)
        with pytest.raises(NameRefused):
            store.open(path).read(1)
        with pytest.raises(NameRefused):
            store.start_upload(path, 100 << 20, None)
        with pytest.raises(NameRefused):
            store.move("a/inside.jpg", path)
        with pytest.raises(NameRefused):
            store.move(path, "b.jpg")
        with pytest.raises(NameRefused):
            store.delete(path)
        with pytest.raises(NameRefused):
            store.read_small(path, 10)
        with pytest.raises(NameRefused):
            store.replace_small(path, b"x", None)
        with pytest.raises(NameRefused):
            store.list_folder(path)
        assert isinstance(attempt(store, blob(store, path, b"x")), NameRefused)
        assert content(store) == {"a/inside.jpg": b"photo"}

    def test_the_root_is_no_file(self, store: Store) -> None:
        put(store, "a.jpg")
        assert isinstance(attempt(store, blob(store, "", b"x")), PhotosyncError)
        for write in (lambda: store.start_upload("", 100 << 20, None), lambda: store.move("a.jpg", "")):
            with pytest.raises((PhotosyncError, OSError)):
                write()
        assert content(store) == {"a.jpg": b"photo"}

    # listing

    def test_an_absent_root(self, store: Store) -> None:
        with pytest.raises(FileNotFoundError):
            store.list_folder("")
        if store.capabilities.flat_listing:
            assert list(store.list_tree()) == []

    def test_missing_is_said(self, store: Store) -> None:
        put(store, "DCIM/a.jpg")
        for path in ("DCIM/b.jpg", "nowhere/b.jpg", "DCIM/a.jpg/b.jpg"):
            with pytest.raises(FileNotFoundError):
                store.stat(path)
            with pytest.raises(FileNotFoundError):
                store.open(path).read(1)
            with pytest.raises(FileNotFoundError):
                store.read_small(path, 100)
            with pytest.raises(FileNotFoundError):
                store.move(path, "c.jpg")
            with pytest.raises(FileNotFoundError):
                store.list_folder(path)

    def test_listings_agree(self, store: Store) -> None:
        paths = ["top.jpg", "DCIM/a.jpg", "DCIM/b.jpg", "DCIM/100APPLE/c.jpg", ".photosync/trash/d.jpg"]
        for number, path in enumerate(paths):
            put(store, path, b"x" * number)
        walked = files(store)
        assert sorted(walked) == sorted(paths)
        top = {entry.path: entry.kind for entry in store.list_folder("")}
        assert top == {"top.jpg": Kind.FILE, "DCIM": Kind.FOLDER, ".photosync": Kind.FOLDER}
        for number, path in enumerate(paths):
            assert walked[path].kind is Kind.FILE
            assert walked[path].size == number
            seen = store.stat(path)
            assert (seen.path, seen.size, seen.version) == (path, number, walked[path].version)
        if not store.capabilities.flat_listing:
            with pytest.raises(Unsupported):
                list(store.list_tree())
            return
        tree = {entry.path: entry for entry in store.list_tree() if entry.kind is not Kind.FOLDER}
        assert tree == walked

    def test_changes(self, store: Store) -> None:
        if not store.capabilities.change_feed:
            with pytest.raises(Unsupported):
                store.changes(None)
            return
        put(store, "DCIM/a.jpg")
        put(store, "DCIM/b.jpg")
        first = store.changes(None)
        assert first.full
        assert sorted(entry.path for entry in first.upserts) == ["DCIM/a.jpg", "DCIM/b.jpg"]
        put(store, "c.jpg")
        store.delete("DCIM/a.jpg")
        second = store.changes(first.cursor)
        assert not second.full
        assert [entry.path for entry in second.upserts] == ["c.jpg"]
        assert list(second.removed) == ["DCIM/a.jpg"]
        third = store.changes(second.cursor)
        assert (list(third.upserts), list(third.removed)) == ([], [])

    # what is there already

    def test_move(self, store: Store) -> None:
        before = put(store, "DCIM/a.jpg", b"one")
        after = store.move("DCIM/a.jpg", "new/folder/b.jpg")
        assert (after.path, after.size) == ("new/folder/b.jpg", before.size)
        assert store.stat("new/folder/b.jpg").version == after.version
        assert content(store) == {"new/folder/b.jpg": b"one"}

    def test_move_replaces_nothing(self, store: Store) -> None:
        put(store, "a.jpg", b"one")
        put(store, "b.jpg", b"two")
        for to in ("b.jpg", "a.jpg"):
            with pytest.raises((AlreadyExists, FileExistsError)):
                store.move("a.jpg", to)
        assert content(store) == {"a.jpg": b"one", "b.jpg": b"two"}

    def test_copy(self, store: Store) -> None:
        put(store, "a.jpg", b"one")
        if not store.capabilities.server_copy:
            with pytest.raises(Unsupported):
                store.copy("a.jpg", "b.jpg")
            return
        made = store.copy("a.jpg", "new/b.jpg")
        assert (made.path, made.size) == ("new/b.jpg", 3)
        assert store.stat("new/b.jpg").version == made.version
        put(store, "c.jpg", b"two")
        with pytest.raises((AlreadyExists, FileExistsError)):
            store.copy("a.jpg", "c.jpg")
        with pytest.raises(FileNotFoundError):
            store.copy("missing.jpg", "d.jpg")
        assert content(store) == {"a.jpg": b"one", "new/b.jpg": b"one", "c.jpg": b"two"}

    def test_copy_from_another_place(self, store: Store, reopen: Callable[[], Store]) -> None:
        """Another store of the same account; that it is the same folder here, the service does not care."""
        other = reopen()
        if not isinstance(store, ServerCopies):
            pytest.skip("not applicable: the service copies from no other place")
        before = put(store, "DCIM/a.jpg", b"one")
        assert store.reaches(other)
        made = store.copy_from(other, other.stat("DCIM/a.jpg"), "new/b.jpg")
        assert (made.path, made.size) == ("new/b.jpg", before.size)
        assert store.stat("new/b.jpg").version == made.version
        for name, value in made.digests.items():
            assert fingerprint(b"one", [name]).digests[name] == value
        put(store, "c.jpg", b"two")
        with pytest.raises((AlreadyExists, FileExistsError)):
            store.copy_from(other, other.stat("DCIM/a.jpg"), "c.jpg")
        put(store, "gone.jpg", b"gone")
        gone = other.stat("gone.jpg")
        store.delete("gone.jpg")
        for original in (gone, Entry("missing.jpg")):
            with pytest.raises(FileNotFoundError):
                store.copy_from(other, original, "d.jpg")
        for path, to in (("../a.jpg", "d.jpg"), ("DCIM/a.jpg", "../d.jpg")):
            with pytest.raises(NameRefused):
                store.copy_from(other, Entry(path), to)
        assert content(store) == {"DCIM/a.jpg": b"one", "new/b.jpg": b"one", "c.jpg": b"two"}

    def test_set_mtime(self, store: Store) -> None:
        put(store, "a.jpg", b"one")
        later = MTIME + 3_600_000_000_000
        if not store.capabilities.set_mtime:
            with pytest.raises(Unsupported):
                store.set_mtime("a.jpg", later)
            return
        kept = store.set_mtime("a.jpg", later)
        precision = store.capabilities.mtime_precision_ns
        assert precision is not None
        seen = store.stat("a.jpg")
        assert seen.mtime_ns is not None
        assert abs(seen.mtime_ns - later) < precision
        assert kept.version == seen.version
        assert content(store) == {"a.jpg": b"one"}

    def test_make_folder(self, store: Store, reopen: Callable[[], Store]) -> None:
        if not isinstance(store, MakesFolders):
            pytest.skip("not applicable: folders do not exist on their own")
        for _ in range(2):
            store.make_folder("")
            assert store.list_folder("") == []
        again = reopen()
        assert isinstance(again, MakesFolders)
        for opened in (store, again):
            opened.make_folder("a/b")
        assert [(entry.path, entry.kind) for entry in store.list_folder("a")] == [("a/b", Kind.FOLDER)]
        assert store.list_folder("a/b") == []
        put(store, "c", b"one")
        with pytest.raises((AlreadyExists, FileExistsError)):
            store.make_folder("c")
        with pytest.raises(NameRefused):
            store.make_folder("../d")
        assert content(store) == {"c": b"one"}

    def test_delete(self, store: Store) -> None:
        put(store, "a.jpg")
        put(store, "b.jpg")
        store.delete("a.jpg")
        assert content(store) == {"b.jpg": b"photo"}

    # photosync's own files

    def test_small_files_are_replaced_conditionally(self, store: Store, reopen: Callable[[], Store]) -> None:
        head = ".photosync/HEAD"
        with pytest.raises(FileNotFoundError):
            store.read_small(head, 100)
        first = store.replace_small(head, b"one", None)
        assert store.read_small(head, 100) == (b"one", first)
        with pytest.raises((AlreadyExists, FileExistsError)):
            store.replace_small(head, b"lost", None)
        second = reopen().replace_small(head, b"two", first)
        assert second != first
        with pytest.raises((AlreadyExists, FileExistsError)):
            store.replace_small(head, b"lost", first)
        assert store.read_small(head, 3) == (b"two", second)
        with pytest.raises(Corrupt):
            store.read_small(head, 2)
        with pytest.raises((AlreadyExists, FileExistsError)):
            store.replace_small(".photosync/OTHER", b"lost", first)
        assert content(store) == {head: b"two"}

    # evidence

    def test_digests_are_of_the_content(self, store: Store) -> None:
        data = b"photo" * 1000
        kept = put(store, "DCIM/a.jpg", data)
        listed = files(store)["DCIM/a.jpg"]
        seen = store.stat("DCIM/a.jpg")
        for digests in (kept.digests, listed.digests, seen.digests):
            for name, value in digests.items():
                assert fingerprint(data, [name]).digests[name] == value
        declared = set(store.capabilities.hashes)
        assert set(kept.digests) | set(seen.digests) <= declared
        if declared:
            assert declared & (set(kept.digests) | set(seen.digests))
        if store.capabilities.hashes_listed:
            assert declared & set(listed.digests)

    def test_other_bytes_than_their_digests_are_refused(self, store: Store) -> None:
        put(store, "good.jpg")
        if not store.capabilities.hashes:
            pytest.skip("not applicable: no hash is declared")
        good = blob(store, "a.jpg", b"as it was read")
        damaged = type(good)(good.path, b"as it arrived!", good.mtime_ns, good.digests)
        # Corrupt, or Transient: the service can't tell a wrong digest from bytes damaged on their way.
        assert isinstance(attempt(store, damaged), (Corrupt, Transient))
        assert content(store) == {"good.jpg": b"photo"}

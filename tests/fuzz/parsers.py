"""Readers of what lies at a destination, on a phone, in the user's files, and in other programs' answers."""

import contextlib
import os
import tempfile
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from photosync import config, handover, oauth, places, rclone_file, rclone_import, schedule
from photosync.backends import adb_listing, gio_listing, s3_columns, s3_pages
from photosync.backends.adb_client import Answer
from photosync.backends.drive_tree import Tree
from photosync.backends.dropbox_listing import _unpack
from photosync.backends.local_upload import _NOT_OURS, _Head
from photosync.engine import (
    filters,
    layout,
    limits,
    manifest,
    names,
    nodes,
    packs,
    signing,
    snapshots,
    spared,
)
from photosync.engine.errors import NameRefused, PhotosyncError
from photosync.engine.fidelity import suspicion
from photosync.engine.media import Facts, look
from photosync.engine.taken import taken
from photosync.engine.views import Glimpse, Memory, Window
from tests.engine import media_files as make
from tests.engine.test_media import SAMPLES, survives
from tests.engine.test_names import RULES, faults
from tests.engine.test_snapshots import Device, MemorySnapshotFiles, entry
from tests.fuzz.target import Target

# the manifest


def _node(data: bytes) -> None:
    with contextlib.suppress(nodes.ManifestError):
        node = nodes.decode(data)
        assert nodes.encode(node) == data
        for found in node.entries:
            assert names.check_relative(found.path) == found.path
            if found.stored is not None:
                assert names.check_relative(found.stored) == found.stored


def _pack(data: bytes) -> None:
    with contextlib.suppress(nodes.ManifestError):
        for frame in packs.unpack(data, "a pack"):
            assert len(frame) <= nodes.MAX_NODE
            _node(frame)


def _head(data: bytes) -> None:
    with contextlib.suppress(nodes.ManifestError):
        head = snapshots._parse_head(data)
        assert head.encoded() == data
        for listed in (*(pack.name for pack in head.packs), *head.superseded):
            assert names.check_relative(listed).startswith("packs/")


def _freed(data: bytes) -> None:
    """Once more with the right hash, so that it is no accident but an enemy."""
    for given in (data, _hashed(data)):
        with contextlib.suppress(nodes.ManifestError):
            found = spared._parse(given)
            assert found.encoded() == given
            assert (found.mark is None) == (found.signature is None)
            assert spared.decode(given) == spared.decode(spared.encode(found.names))


def _hashed(data: bytes) -> bytes:
    try:
        found = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return data
    found.pop("blake3", None)
    if not found:
        return data
    body = msgspec.json.encode(dict(sorted(found.items())))
    hashed = b'{"blake3":"' + nodes.name_of(body).encode() + b'",' + body[1:]
    return msgspec.json.format(hashed, indent=2) + b"\n"


def _record(data: bytes) -> None:
    with contextlib.suppress(nodes.ManifestError):
        assert snapshots.record_of(snapshots._parse_record(data)) == data


def _written() -> MemorySnapshotFiles:
    files = MemorySnapshotFiles()
    device = Device(files)
    for number in range(3):
        device.put(*[entry(f"DCIM/{number}/IMG_{each}.JPG", number) for each in range(30)])
    device.put(entry("z\udcff.jpg"), entry("é"), removals=("DCIM/0/IMG_1.JPG",))
    return files


_WRITTEN = _written()


def _told(files: MemorySnapshotFiles) -> list[tuple[snapshots.Snapshot, list[manifest.ManifestEntry]]]:
    cache = nodes.MemoryNodes()
    at = snapshots.Snapshots(files, cache)
    if (head := at.head()) is not None:
        at.load(head, afresh=True)
    return [(each, list(manifest.entries(each.root, cache))) for each in at.history()]


_TRUTH = _told(_WRITTEN)


def _manifest(data: bytes) -> None:
    """A whole manifest, of which the input says which bytes are others: the same history, or an error."""
    files = MemorySnapshotFiles()
    files.files = dict(_WRITTEN.files)
    stored = sorted(files.files)
    for line in data.splitlines():
        head, _, new = line.partition(b" ")
        if not head.isdigit() or len(head) > 8:
            continue
        which, at = divmod(int(head), 4096)
        name = stored[which % len(stored)]
        old = files.files[name]
        at %= len(old) + 1
        files.files[name] = old[:at] + new + (b"" if b"~" in new else old[at + len(new) :])
    with contextlib.suppress(PhotosyncError):
        told = _told(files)
        assert told == _TRUTH


# what the user keeps


def _config(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        found = config.parse(text, "c.toml")
    except config.ConfigError as error:
        if not str(error).startswith("c.toml"):
            raise
        return
    assert config.parse(config.render(found), "shown") is not None
    wanted = msgspec.structs.replace(found, remotes={**found.remotes, "new": config.Local(root="/x")})
    with contextlib.suppress(config.ConfigError):
        assert config.parse(config._rewritten(text, found, wanted, "c.toml"), "again") == wanted


def _rclone(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            sections = rclone_file.read(Path(file.name))
        except rclone_file.RcloneError:
            return
    for name, options in sections.items():
        try:
            found = rclone_import._translate(name, options)
        except rclone_file.Unusable:
            continue
        made = config.Config(remotes={name: found.remote})
        shown = config.render(made)
        for value in found.secrets.values():
            # What stands in the file a second time may be shown from there.
            if isinstance(value, str) and len(value) > 8 and data.count(value.encode()) == 1:
                assert value not in shown


def _texts(parse: Callable[[str], object], *expected: type[Exception]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        with contextlib.suppress(*expected):
            parse(data.decode("utf-8", "surrogateescape"))

    return run


_CONFIG = config.Config(remotes={"db": config.Dropbox(), "nas": config.Sftp(host="nas")})
_NOW = 1_800_000_000_000_000_000


def _filter(text: str) -> None:
    kind, _, value = text.partition(" ")
    made = filters.Filter.parse(
        include=value.split("\n") if kind == "include" else (),
        exclude=value.split("\n") if kind == "exclude" else (),
        min_size=value if kind == "size" else None,
        max_age=value if kind == "age" else None,
        now_ns=_NOW,
    )
    for path in ("DCIM/100/IMG_1.JPG", "a", "x/y/z.é"):
        if made.wants(path, 5, _NOW):
            folder = path.rpartition("/")[0]
            assert not folder or made.enters(folder)


def _layout(text: str) -> None:
    made = layout.Layout.parse(text, "Ann's phone/..")
    facts = Facts("jpeg", make="../M", model="..")
    path = made.path("DCIM/100/IMG_1.JPG", taken("IMG_20240102_030405.jpg", None, facts), facts, "ab" * 32)
    with contextlib.suppress(NameRefused):
        assert ".." not in names.check_relative(path).split("/")


def _limit(text: str) -> None:
    made = limits.Timetable.parse(text)
    for hour in range(0, 168, 5):
        rate = made.rate(_NOW + hour * 3600 * 10**9)
        assert rate is None or rate > 0


def _schedule(text: str) -> None:
    made = schedule.Schedule.parse(text)
    now = datetime(2026, 11, 24, 12)
    assert now < made.next(now) <= now + timedelta(days=99999)
    assert made.timer()


def _handed_over(text: str) -> None:
    with contextlib.suppress(handover.HandoverError):
        handover.parsed(handover.braced(text))
    oauth.answer_in(text)
    with contextlib.suppress(rclone_file.Unusable):
        rclone_file.read_token(text)
    with contextlib.suppress(rclone_file.Unusable):
        rclone_file.reveal(text)


# names and photos


def _names(data: bytes) -> None:
    path = os.fsdecode(data)
    names.printable(path)
    names.decode(path)
    try:
        names.check_relative(path)
    except NameRefused:
        return
    for rules in RULES.values():
        with contextlib.suppress(NameRefused):
            stored = names.encode(path, rules)
            assert not faults(stored, rules)
            assert names.is_shortened(stored) or names.decode(stored) == path


def _media(data: bytes) -> None:
    survives("a.jpg", data)
    whole = Memory(data)
    facts = look(whole)
    taken("IMG_0001.JPG", 0, facts)
    assert Facts.loads(facts.dumps()) == facts
    for name in ("a.heic", "a.mov", "a.png", "a.dng"):
        suspicion(name, whole, facts)
    passed = Glimpse(len(data) + 1)
    for at in range(0, len(data), 37):
        passed.feed(data[at : at + 37])
    look(passed)
    look(Window(len(data) + 5, lambda offset, size: data[offset : offset + size]))


# phones, and programs that speak for them


def _adb(data: bytes) -> None:
    out, _, err = data.partition(b"\n===\n")
    for deep in (False, True):
        with contextlib.suppress(PhotosyncError, OSError):
            tree = adb_listing.parse(Answer(out, err, len(err) % 2), "/sdcard/DCIM", deep)
            for folder, children in tree.folders.items():
                assert folder.startswith("/")
                assert all("/" not in child and child not in ("",) for child in children)


def _gio(data: bytes) -> None:
    for name, status in gio_listing.parsed(data) or ():
        assert name
        assert "/" not in name
        assert status.st_size >= 0


# what lies about at a destination, and cursors that were kept


def _notes(data: bytes) -> None:
    with contextlib.suppress(*_NOT_OURS):
        head = _Head.parse(data)
        assert names.check_relative(head.path) == head.path


def _page(data: bytes) -> None:
    response = {"status_code": 200, "body": data}
    taken_out: dict[str, object] = {}
    s3_pages.take_page(response, taken_out)
    for found in taken_out.get("Contents", ()):  # type: ignore[attr-defined]
        assert isinstance(found["Size"], int)
    if (columns := s3_columns.parse_columns(data)) is not None:
        page = s3_pages.whole_page(data)
        assert columns[1].keys == [found["Key"] for found in page["Contents"]]
        assert columns[1].sizes == [found["Size"] for found in page["Contents"]]


def _cursor(data: bytes) -> None:
    packed = b64encode(zlib.compress(data)).decode()
    for cursor in (packed, data.decode("latin-1")):
        _unpack(cursor, "Photos")
        Tree.unpacked(cursor, "//Photos")


def _nested(count: int) -> bytes:
    return b"[" * count + b"]" * count


_ENTRY = b'{"chunks":["%s"],"content":"%s","mtime_ns":1,"path":"a.jpg","sha256":"%s","size":3}\n' % (
    b"0" * 32, b"1" * 64, b"2" * 64,
)  # fmt: skip
_LEAF = b'{"count":1,"format":1,"level":0}\n' + _ENTRY
_CHILD = b'{"bytes":3,"count":1,"first":"a","last":"a","name":"%s"}\n' % (b"3" * 64)
_NODES = [
    _LEAF,
    b'{"count":1,"format":1,"level":1}\n' + _CHILD,
    _LEAF.replace(b'"path":"a.jpg"', b'"path_hex":"ff"'),
    b'{"count":0,"format":1,"level":0}\n',
    _nested(5000),
]
_PAGE = b"""<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">\
<Prefix>p/</Prefix><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>\
<Contents><Key>p/a.jpg</Key><Size>3</Size><ETag>"e"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified>\
</Contents><CommonPrefixes><Prefix>p/b/</Prefix></CommonPrefixes></ListBucketResult>"""
_TOML = b"""[remotes.nas]
type = "sftp"
host = "nas.lan"
port = 22
[remotes.x]
type = "fsspec"
protocol = "memory"
options = { a = [1, 2.5], "b c" = 1979-05-27T07:32:00Z }
[defaults]
transfers = 8
bwlimit = "10M"
[jobs.all]
source = "phone:"
destinations = ["db:Phone", "nas:p"]
schedule = "daily 03:00"
webhook = "https://u:p@example.org/x"
"""
_RCLONE = b"""[db]
type = dropbox
token = {"access_token":"sl.u.abcdefghijk","refresh_token":"rrrrrrrrrr","expiry":"2026-01-01T00:00:00Z"}
client_id = abc
client_secret = defdefdefdef
[nas]
type = sftp
host = nas
port = 22
pass = 5oCNjPrQBtpdJVCFdsDJcS3KMVLG6nIOVTOl3w
[s]
type = s3
provider = Other
endpoint = http://127.0.0.1:9
access_key_id = AKAKAKAKAKAK
secret_access_key = SKSKSKSKSKSKSK
[w]
type = webdav
url = https://h/x
"""
_SHELL = (
    b"/sdcard/DCIM/\0/sdcard/DCIM/a b\0/sdcard/DCIM/c.jpg\0\0"
    b"41ed 4096 1700000000 /sdcard/DCIM/\n41ed 4096 1700000000 /sdcard/DCIM/a b\n"
    b"81a4 3 18446744073709551615 /sdcard/DCIM/c.jpg\n\n===\nfind: '/sdcard/DCIM/a b': Permission denied\n"
)
_GIO = b"mtp://host/DCIM/a%20b.jpg\t3\t(regular)\ttime::modified=1700000000\nmtp://host/x\t0\t(directory)\n"
_HEAD_BYTES = _WRITTEN.files["HEAD"]
_MARK = signing.Mark("ab" * 32, "cd" * 16, 7)
_SIGNATURE = signing.Signature("ef" * 32, "01" * 64)
_SIGNED_HEAD = replace(snapshots._parse_head(_HEAD_BYTES), ed25519=_SIGNATURE, freed=_MARK).encoded()
_PLAIN_FREED = spared._unsigned(["DCIM/IMG_1.JPG", "z\udcff.jpg", "é"])
_FREED = [
    _PLAIN_FREED.encoded(),
    replace(_PLAIN_FREED, ed25519=_SIGNATURE, library=_MARK.library, number=_MARK.number).encoded(),
]
_PACKS = [_WRITTEN.files[name] for name in _WRITTEN.packs]
_RECORDS = [snapshots.record_of(each) for each, _ in _TRUTH]
_TEXTS = [
    b"include *.{jpg,heic}\n/DCIM/**", b"exclude [!a-c]?\\*\n{{re+}}", b"size 1.5G", b"age 1d12h",
    b"age 2024-01-31", b"include {{[}}", b"include a{b{c}}", b"exclude **/x/***",
]  # fmt: skip


TARGETS = [
    Target("node", _node, _NODES, (b'"level":33', b'"format":2', b"_hex", b'"stored":"x"', b'"path":"../x"')),
    Target("pack", _pack, [*_PACKS, packs.pack(_NODES[:2])], (b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18")),
    Target("head", _head, [_HEAD_BYTES, _SIGNED_HEAD], (b"packs/000001-", b'"format": 2', b'"packs": []')),
    Target("freed", _freed, [*_FREED, spared.encode([])], (b'"number": 0', b'"paths_hex": ["ff"]')),
    Target("record", _record, _RECORDS, (b'"previous":null', b'"number":0')),
    Target("manifest", _manifest, [b"0 x", b"4097 \xff\xff", b"9000 ~", b"5 1\n4100 2\n8199 3"]),
    Target("config", _config, [_TOML, b""], (b"[[", b"'''", b"[jobs.x]\n", b'type = "s3"\n', b"\\u0000")),
    Target("rclone", _rclone, [_RCLONE], (b"[", b"RCLONE_ENCRYPT_V0:\n", b'"""', b"\xef\xbb\xbf", b"\0")),
    Target(
        "place", _texts(lambda text: places.parse(text, _CONFIG), places.PlaceError),
        [b"db:a/b", b"s3://b/p", b"phone@x:DCIM", b"C:\\x", b"sftp://u@h:22/p", b"zip::http://[::1]/x"],
    ),
    Target("filter", _texts(_filter, filters.FilterError), _TEXTS, (b"{{", b"}}", b"(?:", b"[^", b"**")),
    Target(
        "layout", _texts(_layout, layout.LayoutError),
        [b"{taken:%Y/%Y-%m}/{name}", b"{camera}/{stem}.{ext}", b"{id:8}-{device}/{album}/{name}"],
        (b"{{", b"!r", b"%", b"{folder}", b"/../"),
    ),
    Target("limit", _texts(_limit, limits.LimitError), [b"10M", b"08:00,512k Mon-19:00,1.5G 23:00,off"]),
    Target(
        "schedule", _texts(_schedule, schedule.ScheduleError), [b"every 6h", b"daily 03:00", b"Mon,Thu 20:30"]
    ),
    Target(
        "sign-in", _texts(_handed_over),
        [b'{"access_token":"a","expiry":"2026-01-01T00:00:00Z"}', b"http://localhost/?code=a&state=b",
         b"5oCNjPrQBtpdJVCFdsDJcS3KMVLG6nIOVTOl3w", _nested(20000),
         b'{"access_token":"a","expires_at":1e400}'],
    ),
    Target("names", _names, [b"DCIM/IMG_1.JPG", b"CON", "é/ß".encode(), b"a%41", b".photosync", b"\xff\xfe"]),
    Target(
        "media", _media, [*SAMPLES.values(), make.heic(make.exif()), make.jpeg()],
        (b"moov", b"meta", b"iinf", b"Exif\0\0", b"ftypheic", b"SEFT", b"eXIf", b"Apple iOS\0"),
    ),
    Target("adb", _adb, [_SHELL, b"/sdcard/DCIM/\0\x0041ed 1 1 /sdcard/DCIM/\n"]),
    Target("gio", _gio, [_GIO], (b"%2F", b"%00", b"(shortcut)", b"..")),
    Target(
        "notes", _notes, [b'{"path": "a/b.mp4", "size": 9, "mtime_ns": 1, "part_size": 4}', _nested(20000)]
    ),
    Target("page", _page, [_PAGE], (b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"&a;", b"<Size>-1</Size>", b"]]>")),
    Target(
        "cursor", _cursor,
        [b'["//Photos","tok","root",[["a","b","n"]],{"root":[["i","n"],["j","m",1,"s"]]}]',
         b'["cursor","Photos",{"a":"A"}]', _nested(20000)],
    ),
]  # fmt: skip

"""Pages behind the first: asked for as the first was, and read as columns, with nothing lost or made up."""

import socket
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photosync.backends.s3 import S3Backend
from photosync.backends.s3_columns import parse_columns
from photosync.backends.s3_objects import files_listed, files_of
from photosync.backends.s3_pages import whole_page
from photosync.engine.entry import Kind
from photosync.engine.errors import NotSignedIn, Transient
from tests.backends.canned_s3 import Answer, Request, canned

_FIELDS = [
    "Key",
    "LastModified",
    "ETag",
    "ChecksumAlgorithm",
    "ChecksumType",
    "Size",
    "Owner",
    "StorageClass",
]
_USUAL = {
    "Key": [
        "a.jpg", "p/b c.jpg", "p/", "a//b", "./x", "../y", "caf%C3%A9", "a+b", "a%2Bb", "%00", "%0A", "%",
        "%C3", "a&amp;b", "&lt;&gt;", "&amp;lt;", "", "a'\"b", "p/%2E",
    ],
    "LastModified": ["2026-01-01T00:00:00.000Z"],
    "ETag": ["&quot;t&quot;", '"t"', "t", "&quot;t"],
    "Size": ["0", "5", "007"],
    "StorageClass": ["STANDARD", "GLACIER"],
    "ChecksumAlgorithm": ["SHA256"],
    "ChecksumType": ["FULL_OBJECT"],
    "Owner": ["<ID>x</ID><Key>k</Key>"],
}  # fmt: skip
_ODD = {
    "Key": ["&#65;", "&bad;", "&", "a<b", "a>b", "]]>", "\u00e9", "\t", "\x01", "<Key>x</Key>", "<!-- x -->"],
    "LastModified": ["&quot;", "&", "<Size>9</Size>"],
    "ETag": ["", '""', "&quot;&quot;", "a&amp;b", 'a"b', " t ", '""t""', "&", "<![CDATA[t]]>"],
    "Size": [" 7", "-1", "", "x", "9" * 19, "9" * 30, "\u0663"],
    "StorageClass": ["", "&amp;", "DEEP_ARCHIVE"],
    "ChecksumAlgorithm": ["", "A</ChecksumAlgorithm><ChecksumAlgorithm>B"],
    "ChecksumType": ["&"],
    "Owner": ["", " ", "text", "<ID/>", "<ID>x"],
}
_HEADS = [
    "", "<!-- c -->", "<?pi x?>", "<!DOCTYPE x>", "\n", " <?xml version='1.0'?>", "<?xml version='1.0'?>\n",
    '<?xml version="1.0" encoding="cp037"?>', '<?xml version="1.0" encoding="UTF-16"?>',
]  # fmt: skip
_ROOTS = [
    ("ListBucketResult", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'), ("Error", ""),
    ("s:ListBucketResult", ' xmlns:s="u"'), ("ListBucketResult", " a='b'"),
    ("ListBucketResult", ' xmlns="&amp;"'),
]  # fmt: skip
_AROUND = [
    "<Name>b</Name>", "<Prefix>a&amp;b</Prefix>", "<A>", "</A>", "<A><B>x</B></A>", "<!--", "-->",
    "<![CDATA[", "]]>", "\n", "<CommonPrefixes><Prefix>p%2F/</Prefix></CommonPrefixes>", "<Contents/>",
    "text", "&x;", "<Contents><Key>z</Key><Size>1</Size></Contents>",
    "<Contents x='y'><Key>z</Key><Size>1</Size></Contents>",
]  # fmt: skip


@st.composite
def pages(draw: st.DrawFn) -> str:
    """Pages as services write them, most of them with something that is not as it should be."""
    odd = draw(
        st.sampled_from(["", "", "order", "value", "head", "root", "before", "behind", "between", "close"])
    )
    shape = {"Key", "LastModified", "ETag", "Size", *draw(st.sets(st.sampled_from(_FIELDS)))}
    order = draw(st.permutations(_FIELDS))
    rows = [
        [(name, draw(st.sampled_from(_USUAL[name]))) for name in order if name in shape]
        for _ in range(draw(st.integers(1, 4)))
    ]
    if odd == "order":
        draw(st.randoms()).shuffle(rows[-1])
        rows[-1].insert(0, rows[-1][0])
    if odd == "value":
        row = draw(st.sampled_from(rows))
        at = draw(st.integers(0, len(row) - 1))
        row[at] = (row[at][0], draw(st.sampled_from(_ODD[row[at][0]])))
    between = draw(st.sampled_from(["\n", "<!-- -->", "<A>x</A>"])) if odd == "between" else ""
    objects = between.join(
        f"<Contents>{''.join(f'<{name}>{value}</{name}>' for name, value in row)}</Contents>" for row in rows
    )
    head = draw(st.sampled_from(_HEADS)) if odd == "head" else '<?xml version="1.0" encoding="UTF-8"?>'
    name, attributes = draw(st.sampled_from(_ROOTS)) if odd == "root" else ("ListBucketResult", "")
    before, behind = (
        draw(st.sampled_from(_AROUND)) if odd in (where, "between") and draw(st.booleans()) else ""
        for where in ("before", "behind")
    )
    if odd in ("before", "behind") and draw(st.booleans()):
        before, behind = draw(
            st.sampled_from([("<!--", "-->"), ("<A>", "</A>"), ("<![CDATA[", "]]>"), ("<A><B/>", "</A>")])
        )
    encoding = draw(st.sampled_from(["<EncodingType>url</EncodingType>", ""]))
    close = draw(st.sampled_from(["", f"</{name}>x", f"</{name}><A/>"])) if odd == "close" else f"</{name}>"
    return (
        f"{head}<{name}{attributes}>{before}{objects}{behind}<IsTruncated>true</IsTruncated>{encoding}{close}"
    )


@given(pages())
@settings(deadline=None, max_examples=500)
def test_columns_say_what_the_parser_says(text: str) -> None:
    found = parse_columns(text.encode())
    if found is None:
        return
    page, listed = found
    whole = whole_page(text.encode())
    contents = whole.pop("Contents")
    assert page.pop("Contents") == []
    assert page == whole
    assert listed.keys == [one["Key"] for one in contents]
    for skip in (0, 2):
        one = files_listed(listed, skip)
        other = files_of([one["Key"][skip:] for one in contents], contents)
        assert [*one.entries(), *one.others] == [*other.entries(), *other.others]


def _page(count: int, more: str = "", extra: str = "") -> str:
    items = "".join(
        f"<Contents><Key>{escape(f'p{number} &%2B.jpg')}</Key><LastModified>x</LastModified>"
        f"<ETag>&quot;t&quot;</ETag>{extra * (number % 2)}<Size>{number}</Size>"
        f"<Owner><ID>1</ID><DisplayName>x</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents>"
        for number in range(count)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>b</Name><Prefix></Prefix><IsTruncated>{'true' if more else 'false'}</IsTruncated>{items}"
        f"<EncodingType>url</EncodingType><NextContinuationToken>{more}</NextContinuationToken></ListBucketResult>"
    )


@pytest.mark.parametrize(
    "extra",
    ["", "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"],
)
def test_usual_pages_are_read_as_columns(extra: str) -> None:
    found = parse_columns(_page(10, "n&amp;x", extra).encode())
    assert found is not None
    page, listed = found
    assert page["NextContinuationToken"] == "n&x"
    assert listed.keys == [f"p{number} &+.jpg" for number in range(10)]
    assert (listed.sizes, set(listed.versions)) == (list(range(10)), {"t"})


def _key(key: str, more: str, tier: str = "STANDARD") -> Answer:
    text = _page(1, more).replace("p0 &amp;%2B.jpg", key).replace("STANDARD", tier)
    return Answer(200, text.encode(), {"Date": "Wed, 25 Nov 2026 12:00:00 GMT"})


_MORE = {"": "1 /+&amp;", "1 /+&": "2", "2": ""}


@pytest.mark.parametrize(
    "options", [{}, {"token": "session"}, {"requester_pays": True}, {"addressing_style": "path"}]
)
def test_further_pages_are_asked_for_as_the_first_one(options: dict[str, object]) -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        token = request.query.get("continuation-token", "")
        return _key(f"root/{len(asked)}%2B.jpg", _MORE[token])

    with canned(answer, **options) as backend:
        store = backend.store("bucket/root")
        listed = [path for files in store.list_tree_files() for path in files.paths]
        assert [entry.path for entry in store.list_tree()] == ["4+.jpg", "5+.jpg", "6+.jpg"]
    assert listed == ["1+.jpg", "2+.jpg", "3+.jpg"]
    assert store.requests == {"ListObjectsV2": 6}
    assert str(store.server_date).endswith("Wed, 25 Nov 2026 12:00:00 GMT")
    first, second, third = asked[:3]
    assert [one.query.pop("continuation-token", "") for one in (first, second, third)] == list(_MORE)
    signed = first.headers["authorization"].partition("Signature=")[0]
    for other in (second, third):
        assert (other.method, other.path, other.query) == (first.method, first.path, first.query)
        assert other.headers.keys() == first.headers.keys()
        assert other.headers["authorization"].startswith(signed)
        assert other.headers["authorization"] != first.headers["authorization"]
        for name in ("x-amz-security-token", "x-amz-request-payer", "user-agent"):
            assert other.headers.get(name) == first.headers.get(name)
    assert ("x-amz-security-token" in first.headers) == ("token" in options)


@pytest.mark.parametrize(
    ("style", "base", "path", "host"),
    [("virtual", "", "/", "bucket.service.test"), ("path", "/base", "/base/bucket", "service.test")],
)
def test_further_pages_go_to_the_address_of_the_first_one(
    style: str, base: str, path: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []
    real = socket.getaddrinfo

    def resolve(name: Any, *rest: Any, **options: Any) -> Any:
        return real("127.0.0.1" if str(name).endswith("service.test") else name, *rest, **options)

    def answer(request: Request) -> Answer:
        asked.append(request)
        return _key("a", _MORE[request.query.get("continuation-token", "")])

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with canned(answer) as backend:
        port = str(backend._account.endpoint_url).rpartition(":")[2]
        named = S3Backend(
            key="k", secret="s", endpoint_url=f"http://service.test:{port}{base}", region_name="x",
            addressing_style=style, skip_instance_cache=True,
        )  # fmt: skip
        list(named.store("bucket").list_tree_files())
    assert [one.query.get("continuation-token", "") for one in asked] == list(_MORE)
    assert {(one.path, one.headers["host"]) for one in asked} == {(path, f"{host}:{port}")}


def test_further_pages_go_to_the_region_that_the_first_one_was_sent_to() -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        if "/eu-west-3/" not in request.headers["authorization"]:
            body = b"<Error><Code>PermanentRedirect</Code><Message>no</Message></Error>"
            return Answer(301, body, {"x-amz-bucket-region": "eu-west-3"})
        return _key("a", _MORE[request.query.get("continuation-token", "")])

    with canned(answer) as backend:
        store = backend.store("bucket")
        assert [files.paths for files in store.list_tree_files()] == [["a"], ["a"], ["a"]]
    assert [one.query.get("continuation-token", "") for one in asked] == ["", *_MORE]
    assert store.requests == {"ListObjectsV2": 4}


def test_without_signing_in_further_pages_are_unsigned_too() -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        return _key("a", _MORE[request.query.get("continuation-token", "")])

    with canned(answer) as backend:
        public = S3Backend(
            anon=True, endpoint_url=backend._account.endpoint_url, region_name="x", skip_instance_cache=True
        )
        list(public.store("bucket").list_tree_files())
    assert [one.query.get("continuation-token", "") for one in asked] == list(_MORE)
    assert not any("authorization" in one.headers for one in asked)


def test_credentials_renewed_meanwhile_sign_the_next_page() -> None:
    asked: list[str] = []

    def answer(request: Request) -> Answer:
        asked.append(request.headers["authorization"])
        return _key("a", _MORE[request.query.get("continuation-token", "")])

    with canned(answer) as backend:
        store = backend.store("bucket")
        pages = store.list_tree_files()
        next(pages)
        credentials = store._service.client._request_signer._credentials
        credentials.access_key = "renewed"
        list(pages)
    assert [("Credential=renewed/" in one) for one in asked] == [False, True, True]


@pytest.mark.row(45)
@pytest.mark.parametrize(
    ("wrong", "raised"),
    [
        (Answer(503, b"<Error><Code>SlowDown</Code></Error>", {"Retry-After": "7"}), Transient),
        (Answer(200, b"<Error><Code>InternalError</Code></Error>"), Transient),
        (Answer(200, b"<ListBucketResult><Contents>"), Transient),
        (Answer(200, _page(2).encode()[:-40]), Transient),
        (Answer(200, _page(2).replace("<Size>1</Size>", "").encode()), Transient),
        (Answer(403, b"<Error><Code>ExpiredToken</Code></Error>"), NotSignedIn),
    ],
)
def test_a_further_page_that_is_none_is_told_as_what_it_is_and_asked_for_again(
    wrong: Answer, raised: type[Exception]
) -> None:
    answers = [_key("a", "1"), wrong, _key("b", "")]

    with canned(lambda _: answers.pop(0)) as backend:
        store = backend.store("bucket")
        pages = store.list_tree_files()
        assert next(pages).paths == ["a"]
        with pytest.raises(raised) as told:
            next(pages)
        if wrong.headers:
            assert isinstance(told.value, Transient)
            assert told.value.retry_after == 7
        assert [path for files in pages for path in files.paths] == ["b"]
    assert store.requests == {"ListObjectsV2": 3}


def test_archived_odd_and_marker_keys_of_further_pages() -> None:
    answers = [
        _key("a", "1"), _key("b", "2", "GLACIER"), _key("mark/", "3"), _key("x//y", "4"),
        _key("caf%C3%A9", ""),
    ]  # fmt: skip
    with canned(lambda _: answers.pop(0)) as backend:
        others = [entry for files in backend.store("bucket").list_tree_files() for entry in files.others]
    assert [(entry.path, entry.kind) for entry in others] == [
        ("b", Kind.FILE), ("x/%2F/y", Kind.OTHER), ("café", Kind.FILE),
    ]  # fmt: skip
    assert "archive" in others[0].note

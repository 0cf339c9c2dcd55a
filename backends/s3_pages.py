"""Pages of a listing, read in a thirtieth of the time that botocore's parser takes.

botocore parses every element of an answer by its model, timestamps included: 90 ms for a page of 1,000 keys.
Its ``before-parse`` event lets the few elements that matter be taken out first; its own parser then gets an
empty page, and everything else about the request (signing, errors, redirects) stays with botocore.
"""

import contextlib
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus
from xml.etree import ElementTree

_EMPTY = b"<ListBucketResult/>"
_OF_OBJECTS = ("Key", "Size", "ETag", "LastModified", "StorageClass")
_OF_PAGES = ("Contents", "CommonPrefixes", "Prefix", "IsTruncated", "NextContinuationToken", "EncodingType")


def take_page(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """botocore's ``before-parse.s3.ListObjectsV2``.

    An answer that is no page of a listing is left to botocore, which knows what to make of it.
    """
    if response_dict["status_code"] != 200:
        return
    try:
        page = parse_page(response_dict["body"])
    except (ElementTree.ParseError, ValueError, KeyError):
        return
    customized_response_dict.update(page)
    response_dict["body"] = _EMPTY


def parse_page(body: bytes) -> dict[str, Any]:
    """The elements of a ``ListBucketResult`` that a listing needs, under botocore's names.

    Times are text, see `timestamp`: hardly anybody asks for them.

    Raises:
        xml.etree.ElementTree.ParseError: it is no XML.
        ValueError: it is another document, or a number is none.
        KeyError: an object lacks its key or size.
    """
    root = ElementTree.fromstring(body)
    space, _, kind = root.tag.rpartition("}")
    if kind != "ListBucketResult":
        raise ValueError(root.tag)
    # Tags come with their namespace in front, which services differ in.
    names = {f"{space}}}{name}" if space else name: name for name in (*_OF_OBJECTS, *_OF_PAGES)}
    contents: list[dict[str, Any]] = []
    folders: list[dict[str, Any]] = []
    page: dict[str, Any] = {"Contents": contents, "CommonPrefixes": folders}
    for element in root:
        name = names.get(element.tag)
        if name == "Contents":
            found: dict[str, Any] = {names.get(each.tag, ""): each.text or "" for each in element}
            found["Size"] = int(found["Size"])
            if "Key" not in found:
                raise KeyError("Key")
            contents.append(found)
        elif name == "CommonPrefixes":
            folders += [{"Prefix": each.text or ""} for each in element if names.get(each.tag) == "Prefix"]
        elif name == "IsTruncated":
            page[name] = (element.text or "").strip() == "true"
        elif name in ("NextContinuationToken", "EncodingType"):
            page[name] = element.text
    return page


def whole_page(body: bytes) -> dict[str, Any]:
    """As `parse_page`, with the keys as they are; elsewhere botocore decodes them.

    Raises:
        Exception: as `parse_page`.
    """
    page = parse_page(body)
    if page.pop("EncodingType", None) == "url":
        for found in page["Contents"]:
            found["Key"] = unquote_plus(found["Key"])
        for found in page["CommonPrefixes"]:
            found["Prefix"] = unquote_plus(found["Prefix"])
    return page


def timestamp(value: Any) -> datetime:
    """A time as services write it, or as botocore, whose parser takes many times as long, read it already."""
    if isinstance(value, datetime):
        return value
    from botocore.utils import parse_timestamp

    with contextlib.suppress(TypeError, ValueError):
        when = datetime.fromisoformat(value)
        if when.tzinfo is not None:
            return when
    parsed: datetime = parse_timestamp(value)
    return parsed

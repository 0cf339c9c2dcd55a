"""Pages of a listing as columns, read in a quarter of the time that an XML parser needs for as many elements.

A service writes each object of a page in one form. So the first object is parsed, a pattern is made of its
form, and where that matches all the others, one after the other without a gap, their values are known. What
is left of the page without its objects, a few elements, goes through the parser. Anything out of the ordinary
(another form, other letters than ASCII, comments, more spaces) is not for this module.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from photosync.backends.s3_pages import parse_page

_BEGIN, _END = "<Contents>", "</Contents>"
_TEXT = "[ -%'-;=?-~]*"
_VALUES = {
    "Key": "([ -;=?-~]*)",
    "Size": "([0-9]{1,19})",
    "ETag": r"(?:&quot;|\")?([ !#-%'-;=?-~]+)(?:&quot;|\")?",
    "StorageClass": f"({_TEXT})",
}
"""Printable ASCII without what XML gives a meaning; a key may hold references."""
_SUMS = f"(?:<ChecksumAlgorithm>{_TEXT}</ChecksumAlgorithm>)*(?:<ChecksumType>{_TEXT}</ChecksumType>)?"
"""What Amazon tells of some objects only."""
_HEAD = re.compile(
    r"(?:<\?xml version=[\"']1\.0[\"'](?: encoding=[\"'](?i:utf)-8[\"'])?(?: standalone=[\"']\w+[\"'])?\?>)?"
    r"\s*<ListBucketResult(?:\s+xmlns=[\"'][ !#-%(-;=?-~]*[\"'])?>\s*"
    r"(?:<(\w+)>[^<>]*</\1>\s*|<\w+/>\s*)*"
)
"""What may stand before the objects, so that they are the root's own children."""
_REFERENCE = re.compile("&(?!(?:amp|lt|gt|quot|apos);)")
_PLAIN_TAG = re.compile("[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Listed:
    """Objects of a page.

    Attributes:
        keys: as they are.
        sizes: bytes.
        versions: ETags without quotation marks, none of them empty.
        tiers: storage classes; None: none is told.
    """

    keys: Sequence[str]
    sizes: Sequence[int]
    versions: Sequence[str]
    tiers: Sequence[str] | None


def parse_columns(body: bytes) -> tuple[dict[str, Any], Listed] | None:
    """A ``ListBucketResult``: what `photosync.backends.s3_pages.parse_page` tells of the page without its
    objects, and these, their keys decoded as the page says. None: it is none, or none of the usual form."""
    if not body.isascii():
        return None
    text = body.decode("ascii")
    begin, end = text.find(_BEGIN), text.rfind(_END)
    if begin < 0 or end < 0 or not _HEAD.fullmatch(text, 0, begin):
        return None
    end += len(_END)
    try:
        page = parse_page((text[:begin] + text[end:]).encode())
        form = _form(ElementTree.fromstring(text[begin : text.index(_END, begin) + len(_END)]))
    except (ElementTree.ParseError, ValueError, KeyError):
        return None
    if form is None or page["Contents"] or page["CommonPrefixes"]:
        return None
    pattern, names = form
    # What is between the objects comes first of each, then the values.
    values = pattern.split(text[begin:end])
    step = len(names) + 1
    if any(values[::step]):
        return None
    columns = dict(zip(names, (values[at::step] for at in range(1, step)), strict=True))
    keys = _keys(columns["Key"], page.pop("EncodingType", None) == "url")
    if keys is None:
        return None
    sizes = list(map(int, columns["Size"]))
    return page, Listed(keys, sizes, columns["ETag"], columns.get("StorageClass"))


def _form(first: ElementTree.Element) -> tuple[re.Pattern[str], list[str]] | None:
    """A pattern for objects that are written as the first one is, and the names of its groups."""
    names: list[str] = []
    parts: list[str] = []
    for element in first:
        name = element.tag
        value = _VALUES.get(name)
        if value is None:
            inner = _inner(element)
        elif len(element) == 0 and not element.attrib and name not in names:
            names.append(name)
            inner = f"<{name}>{value}</{name}>"
        else:
            return None
        if inner is None:
            return None
        if name not in ("ChecksumAlgorithm", "ChecksumType"):
            parts.append(inner + _SUMS * (name == "ETag"))
    if first.attrib or not {"Key", "Size", "ETag"} <= set(names):
        return None
    return re.compile(_BEGIN + "".join(parts) + _END), names


def _inner(element: ElementTree.Element) -> str | None:
    """A pattern for an element whose value does not matter, with those in it."""
    if element.attrib or not _PLAIN_TAG.fullmatch(element.tag):
        return None
    inner = [_inner(each) for each in element]
    if None in inner:
        return None
    return f"<{element.tag}>{''.join(map(str, inner)) or _TEXT}</{element.tag}>"


def _keys(written: Sequence[str], as_url: bool) -> Sequence[str] | None:
    """Keys as they are, from what stands in the page; None: it is not well-formed."""
    text = "\0".join(written)
    if "&" in text:
        if _REFERENCE.search(text):
            return None
        for entity, letter in (("lt", "<"), ("gt", ">"), ("quot", '"'), ("apos", "'"), ("amp", "&")):
            text = text.replace(f"&{entity};", letter)
    if not as_url or not ("%" in text or "+" in text):
        return text.split("\0")
    # NUL may be in what was escaped.
    keys = unquote_plus(text).split("\0")
    return keys if len(keys) == len(written) else [unquote_plus(key) for key in text.split("\0")]

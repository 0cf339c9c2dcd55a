"""Foreign errors get their place in the tree, their cause and a remedy."""

import errno
import os

import pytest

from photosync.engine.errors import (
    AlreadyExists,
    Corrupt,
    DestinationFull,
    DeviceGone,
    Fatal,
    Permanent,
    PhotosyncError,
    ReadOnly,
    SourceChanged,
    Transient,
    classify,
    describe,
)


def os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code), "a.jpg")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (os_error(errno.ENOSPC), DestinationFull),
        (os_error(errno.EDQUOT), DestinationFull),
        (os_error(errno.ENODEV), DeviceGone),
        (os_error(errno.ENOTCONN), DeviceGone),
        (os_error(errno.EROFS), ReadOnly),
        (os_error(errno.EEXIST), AlreadyExists),
        (os_error(errno.EAGAIN), Transient),
        (os_error(errno.ETIMEDOUT), Transient),
        (os_error(errno.ECONNRESET), Transient),
        (os_error(errno.EHOSTUNREACH), Transient),
        (ConnectionError("cut"), Transient),
        (TimeoutError(), Transient),
        (os_error(errno.EIO), Permanent),
        (os_error(errno.EACCES), Permanent),
        (os_error(errno.ENOENT), Permanent),
        (os_error(errno.EISDIR), Permanent),
        (ValueError("bug"), Permanent),
        (KeyError("bug"), Permanent),
    ],
)
def test_classify(error: Exception, kind: type[PhotosyncError]) -> None:
    found = classify(error, "reading a.jpg")
    assert type(found) is kind
    assert found.__cause__ is error
    assert str(found).startswith("reading a.jpg: ")


def test_our_own_pass_through() -> None:
    for error in (Transient("x", 3.0), Corrupt("x"), Fatal("x"), SourceChanged("x")):
        assert classify(error, "reading") is error


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ENODEV, errno.EROFS])
def test_what_ends_a_run_says_what_to_do(code: int) -> None:
    assert str(classify(os_error(code), "storing a")).rstrip(".").endswith(("run again", "choose another"))


def test_describe() -> None:
    assert describe(os_error(errno.EIO)) == "Input/output error"
    assert describe(Permanent("plain words")) == "plain words"
    assert describe(ValueError("odd")) == "ValueError: odd"

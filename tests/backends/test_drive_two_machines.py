"""Two machines that begin at the same moment, where Drive takes any number of folders of one name."""

import threading
from collections.abc import Iterator

import pytest

from tests.backends.drive_rig import Rig, blob, rigged


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(monkeypatch) as rig:
        yield rig


@pytest.mark.parametrize("attempt", range(5))
def test_two_that_make_the_same_folders(rig: Rig, attempt: int) -> None:
    stores = [rig.sign_in().store("Photos"), rig.sign_in().store("Photos")]
    ready = threading.Barrier(2)

    def write(number: int) -> None:
        ready.wait()
        stores[number].put([blob(f"{number}/a.jpg", b"photo")])
        try:
            stores[number].replace_small(".photosync/HEAD", b"%d" % number, None)
        except Exception as error:  # the other was first
            lost.append(error)

    lost: list[Exception] = []
    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = rig.content()
    assert set(content) == {"Photos/0/a.jpg", "Photos/1/a.jpg", "Photos/.photosync/HEAD"}
    assert all(len(copies) == 1 for copies in content.values())
    assert len(lost) == 1

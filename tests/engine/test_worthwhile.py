"""Which of a service's hashes are made of a file."""

from photosync.engine.hashing import worthwhile

DRIVE = ("sha256", "md5")


def test_a_new_file_needs_no_weak_hash_where_a_better_one_is_told() -> None:
    assert worthwhile(DRIVE) == ("sha256",)
    assert worthwhile(DRIVE, {"sha256": "1", "md5": "2"}) == ("sha256",)
    assert worthwhile(DRIVE, {}) == ("sha256",)


def test_an_object_with_nothing_better_has_it_made() -> None:
    assert worthwhile(DRIVE, {"sha256": "1", "md5": "2"}, {"md5": "3"}) == DRIVE


def test_a_service_with_weak_hashes_alone_has_them_made() -> None:
    assert worthwhile(("md5",)) == ("md5",)
    assert worthwhile(("sha256", "crc64nvme")) == ("sha256", "crc64nvme")

"""What is recommended after a place was measured."""

import pytest

from photosync.benchmark import Findings, Speed, chosen_of, levels_of, parse_size, steps
from photosync.engine.capabilities import Batch, Capabilities
from photosync.places import PlaceError

MB = 1 << 20


def upload(at_once: int, rate: float, size: int = MB) -> Speed:
    return Speed("upload", at_once, size, int(rate * MB), 1.0)


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ({1: 1, 2: 2, 4: 4}, 4),
        ({1: 5, 2: 5, 4: 4.1}, 4),
        ({1: 5, 2: 9.5, 4: 10, 8: 7.9}, 2),
        ({1: 10, 2: 6, 4: 3}, 1),
        ({1: 3}, 1),
    ],
)
def test_fewer_only_where_more_are_clearly_worse(rates: dict[int, float], chosen: int) -> None:
    assert chosen_of({level: upload(level, rate) for level, rate in rates.items()}) == chosen


def test_the_better_of_two_measurements_counts_and_other_sizes_do_not() -> None:
    speeds = [
        upload(1, 4),
        upload(2, 1),
        upload(2, 3),
        upload(2, 50, 4 * MB),
        Speed("download", 2, MB, 99, 1),
    ]
    assert {level: speed.rate / MB for level, speed in levels_of(speeds).items()} == {1: 4, 2: 3}


def test_advice_in_words_and_for_the_configuration() -> None:
    speeds = [upload(1, 8), upload(4, 2)]
    fewer = Findings("nas:", [0.1], speeds, {}, 4, 1, True)
    assert fewer.snippet == "[defaults]\ntransfers = 1\n"
    assert "8.0 MiB/s up with 1, 2.0 MiB/s with the 4" in fewer.advice()
    assert "--transfers 1" in fewer.advice()
    usual = Findings("nas:", [0.1], speeds, {}, 4, None, True)
    assert usual.snippet == ""
    assert usual.advice().startswith("Nothing need be set: the 4 calls at once")


def test_what_is_sent_by_default_needs_no_question() -> None:
    for can in (
        Capabilities(),
        Capabilities(write_concurrency=32, small_limit=64 * MB),
        Capabilities(write_concurrency=6, batch=Batch(1000, 48 * MB)),
    ):
        plan = steps(can, MB)
        assert plan.sent <= 256 * MB
        assert plan.levels[0] == 1
        assert plan.levels[-1] == can.write_concurrency
    assert steps(Capabilities(write_concurrency=1), MB).levels == [1]
    assert steps(Capabilities(small_limit=MB), 64 * MB).size == MB, "one request holds no more"


@pytest.mark.parametrize(("text", "size"), [("1M", MB), ("500K", 500 << 10), ("1", 1024), ("64M", 64 * MB)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "65M", "1b", "-1M", "off", "1 apple"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(PlaceError, match="write a size from"):
        parse_size(text)

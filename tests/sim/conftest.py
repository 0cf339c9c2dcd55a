"""Option ``--seeds`` for the simulation."""

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "sim_seed" in metafunc.fixturenames:
        first, _, count = str(metafunc.config.getoption("--seeds")).rpartition("+")
        start = int(first or 0)
        metafunc.parametrize("sim_seed", range(start, start + int(count)))

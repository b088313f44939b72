"""Some seeded seconds of the fuzzing that `make fuzz` does for longer."""

from __future__ import annotations

import os
import sys

import pytest

needs_fork = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.environ.get("OMP_NUM_THREADS") != "1",
    reason="forks, which works on Linux with OMP_NUM_THREADS=1 alone, as in make test",
)
if not sys.platform.startswith("linux"):
    pytest.skip("limits the memory of forks, as on Linux", allow_module_level=True)

from forks import outcomes, until  # noqa: E402

from fuzz import FORMATS, fuzz  # noqa: E402


@needs_fork
@pytest.mark.parametrize("seconds", [1, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", list(FORMATS))
def test_every_mutant_is_read_right_or_refused_with_a_clear_error(name, seconds):
    for library in ("lightgbm", "xgboost", "catboost"):
        if name.startswith(library):
            pytest.importorskip(library)
    result = fuzz(name, 0, until(seconds))
    assert not result.failures, "\n".join(f"{n}: {what}" for n, what in result.failures[:10])
    assert sum(result.counts.values()) > 6 * seconds
    assert result.counts["refused"] + result.counts["read"] > 0


@needs_fork
def test_what_ends_a_child_is_told_from_what_it_says(monkeypatch):
    monkeypatch.setattr("forks.SECONDS", 0.3)

    def run(number: int) -> str:
        if number == 2:
            os.abort()
        while number == 4:
            pass
        if number == 5:
            return f"memory: {len(bytearray(3 << 30))}"
        return "fine"

    found = dict(outcomes(range(6), run, batch=4))
    assert found.pop(2) == "crash: SIGABRT"
    assert found.pop(4) == "hang"
    assert found.pop(5) == "crash: exit status 0"  # MemoryError
    assert found == {0: "fine", 1: "fine", 3: "fine"}

"""A clock that tests move, so that no time has to pass."""

import pytest

from pipegrad.training.deadline import Deadline


class FakeClock:
    """Seconds that go on only where a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    fake = FakeClock()
    monkeypatch.setattr(Deadline, "clock", staticmethod(fake))
    return fake

"""The display of a long fit."""

import io

from rich.console import Console

from clocks import clock
from pipegrad.training.progress_bar import ShowStages

__all__ = ["clock"]


def test_stages_and_the_time_left(clock):
    out = io.StringIO()
    with ShowStages(Console(file=out, width=100, force_terminal=True)) as show:
        show.tell("split 1 of at most 5: Adam")
        assert "left" not in out.getvalue()
        show.expect(100)
        clock.advance(25)
        show.tell("training on all rows")
        assert "about 1:15 left" in out.getvalue()
        clock.advance(1000)
        show.tell("late")
    assert "split 1 of at most 5: Adam" in out.getvalue()
    assert "about 0:00 left" in out.getvalue()

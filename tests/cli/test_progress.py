"""The progress bar of long jobs."""

from __future__ import annotations

import time

import pytest

from extractor.cli import progress


def test_a_bar_is_ended_with_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that was drawn only because a line was said beside it: what follows is not glued to it."""
    monkeypatch.setattr(progress, "DELAY", 1e-3)
    with progress.counting("index") as steps:
        begun = time.time()
        while time.time() < begun + 2e-3:  # until a bar is due
            pass
        steps.say("failed: a.png")
    err = capsys.readouterr().err
    assert "failed: a.png\n" in err
    assert err.endswith("\n")

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


def test_a_bar_says_at_once_what_is_being_done_now(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a log too, where it moves every ten seconds; but not before there is a bar."""
    with progress.counting("settings", unit=" settings") as steps:
        steps.doing("choosing")
        steps.step()
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(progress, "DELAY", 0)
        steps.doing("fitting")
        assert "fitting: 1 settings" in capsys.readouterr().err

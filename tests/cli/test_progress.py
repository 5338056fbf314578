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


def test_what_is_being_done_is_a_line_of_a_log_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the bar itself has one every ten seconds; and nothing moves back."""
    monkeypatch.setattr(progress, "DELAY", 1e-3)
    with progress.counting("settings", unit=" settings") as steps:
        begun = time.time()
        while time.time() < begun + 2e-3:  # until a bar is due
            pass
        steps.step()
        steps.doing("fitting")
    err = capsys.readouterr().err
    assert "\nfitting: 1 settings" in f"\n{err}"
    assert err.endswith("\n")
    assert "\r" not in err


def test_what_ends_in_a_moment_has_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.counting("settings", unit=" settings") as steps:
        steps.doing("choosing")
        steps.step()
    assert capsys.readouterr().err == ""

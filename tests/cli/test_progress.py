"""The progress bar of long jobs."""

from __future__ import annotations

import re
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
        steps.doing("making the report")
    err = capsys.readouterr().err
    assert err.splitlines()[-2:] == ["fitting …", "making the report …"]
    assert err.endswith("\n")
    assert "\r" not in err


def test_a_stage_has_figures_as_soon_as_a_step_of_it_is_done_and_none_of_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_manner", lambda: {"mininterval": 0, "file": progress._Lines()})
    with progress.counting("", unit=" settings") as steps:
        steps.doing("choosing")
        for _ in range(3):
            steps.step()
        steps.doing("fitting")
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("choosing: 3 settings [") for line in lines)
    assert [line for line in lines if line.startswith("fitting")] == ["fitting …"]


def test_what_ends_in_a_moment_has_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.counting("settings", unit=" settings") as steps:
        steps.doing("choosing")
        steps.step()
    assert capsys.readouterr().err == ""


def test_what_is_passed_over_is_not_counted_into_the_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A thousand unchanged files in the first second say nothing of how long the others will take."""
    now = 1000.0
    monkeypatch.setattr("tqdm.std.time", lambda: now)
    with progress.counting("index") as steps:
        for _ in range(1000):
            now += 1e-3
            steps.pass_over()
        for _ in range(100):
            now += 0.5
            steps.step()
    lines = [line for line in capsys.readouterr().err.splitlines() if "images/s" in line]
    rates = [float(re.search(r"([\d.]+) images/s", line)[1]) for line in lines]
    assert len(rates) > 3
    assert lines[-1].startswith("index: 1100")
    assert all(1.5 < rate <= 2 for rate in rates), lines

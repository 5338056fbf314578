"""Which kind is chosen, and what is said of it."""

import pytest

from extractor.errors import InvalidArgument
from extractor.indexes.choice import Budget, choose

GIB = 2**30
ROOMY = Budget(memory=64 * GIB)


@pytest.mark.parametrize(
    ("count", "kind"),
    [(0, "exact"), (12_000, "exact"), (20_000, "exact-fp16"), (250_000, "exact-fp16"), (1_000_000, "ivf")],
)
def test_it_is_exact_until_the_latency_breaks(count: int, kind: str) -> None:
    """Of 1280 values each, within 50 ms."""
    choice = choose(count, 1280, ROOMY)
    assert choice.kind == kind
    assert choice.reason.startswith(f"{kind}: ")
    assert "\n" not in choice.reason


def test_the_reason_is_one_line_with_the_figures() -> None:
    """What it takes, and what was wanted."""
    assert choose(12_000, 1280, ROOMY).reason == "exact: 12,000 vectors take about 4 ms a query"
    assert choose(1_000_000, 1280, ROOMY).reason == (
        "ivf: compared one by one 1,000,000 vectors take about 171 ms a query; 50 ms are wanted"
    )
    assert choose(250_000, 1280, Budget(memory=GIB // 2)).reason == (
        "ivf: 250,000 vectors take 610.4 MiB in 16 bits a value; 512 MiB are allowed"
    )


def test_more_time_keeps_it_exact_and_less_does_not() -> None:
    """The budget decides, not the count."""
    assert choose(1_000_000, 1280, Budget(latency_ms=500, memory=64 * GIB)).kind == "exact-fp16"
    assert choose(100_000, 1280, Budget(latency_ms=5, memory=64 * GIB)).kind == "ivf"
    assert choose(12_000, 1280, Budget(memory=40 * 2**20)).kind == "exact-fp16"


def test_narrow_vectors_are_more() -> None:
    """What counts are bytes."""
    assert choose(100_000, 128, ROOMY).kind == "exact"


def test_without_a_budget_the_machine_s_memory_bounds() -> None:
    """Half of it."""
    assert choose(1000, 1280) == choose(1000, 1280, Budget())
    assert 0 < Budget().memory < 2**50


@pytest.mark.parametrize("given", [{"latency_ms": 0}, {"latency_ms": float("nan")}, {"memory": -1}])
def test_a_budget_of_nothing_is_refused(given: dict[str, float]) -> None:
    """With what was given."""
    with pytest.raises(InvalidArgument, match="needs some time and memory"):
        Budget(**given)  # type: ignore[arg-type]

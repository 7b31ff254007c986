"""The page on machines and cost: its table is what the measured figures give."""

from __future__ import annotations

import pytest

from tests.benchmarks.capacity import RESULTS, machines, measured_rate, table
from tests.integration.deploy.files import DEPLOY


def test_the_table_is_computed_from_the_results() -> None:
    computed = table(RESULTS.read_text(encoding="utf-8"), utilisation=0.7, price=0.1)
    assert computed in (DEPLOY / "CAPACITY.md").read_text(encoding="utf-8")


def test_machines_by_hand() -> None:
    # 1,000 sentences/s at 70 % of 500 are 2.86 machines, so 3, and one to spare.
    assert machines(1_000, 500, 0.7) == 4
    assert machines(1_000, 500, 1.0) == 3


def test_a_rate_is_that_of_its_own_table() -> None:
    results = "\n".join(
        [
            "| Tatoeba, service | 1 | 200 (1–2) | 5 |",
            "| | 128 | 400 (1–2) | 5 |",
            "| Tatoeba, batching off | 1 | 100 (1–2) | 5 |",
            "| | 128 | 50 (1–2) | 5 |",
            "| newstest, service | 1 | 70 (1–2) | 5 |",
        ]
    )
    assert measured_rate("Tatoeba", results) == 400
    with pytest.raises(ValueError, match="no rate of the service for newstest"):
        measured_rate("newstest", results)

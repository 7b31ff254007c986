"""The page on machines and cost: its table is what the measured figures give."""

from __future__ import annotations

import pytest

from tests.benchmarks.capacity import RESULTS, machines, measured_rate, rate_of_files, table
from tests.integration.deploy.files import DEPLOY


def test_the_table_is_computed_from_the_results() -> None:
    computed = table(RESULTS.read_text(encoding="utf-8"), utilisation=0.7, price=0.1)
    assert computed in (DEPLOY / "CAPACITY.md").read_text(encoding="utf-8")


def test_machines_by_hand() -> None:
    # 1,000 sentences/s at 70 % of 500 are 2.86 machines, so 3, and one to spare.
    assert machines(1_000, 500, 0.7) == 4
    assert machines(1_000, 500, 1.0) == 3
    assert machines(1_000, 400, 1.0, spare=0) == 3


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


def test_the_rate_without_a_service_follows_from_the_part_of_it_that_the_service_has() -> None:
    results = "\n".join(
        [
            "| `Translator.translate` offline, the load generator busy beside it | 0.50 (0.4–0.6) | 0.80 (0.7–0.9) |",
            "| Tatoeba, service | 1 | 200 (1–2) | 5 |",
            "| | 32 | 400 (1–2) | 5 |",
            "| newstest, service | 1 | 70 (1–2) | 5 |",
            "| | 32 | 120 (1–2) | 5 |",
            "",
            "",
        ]
    )
    assert [rate_of_files(corpus, results) for corpus in ("Tatoeba", "newstest")] == [800, 150]
    with pytest.raises(ValueError, match="does not compare"):
        rate_of_files("Tatoeba", results.partition("\n")[2])

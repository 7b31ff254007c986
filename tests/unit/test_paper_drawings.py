"""The figures of `python -m training figures`: small files, whatever the number of runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.paper_drawings import draw_learning_curves


def test_the_curves_of_a_large_grid_are_a_small_file(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    runs = [
        {
            "name": f"lstm-{shape}-seed{seed}",
            "configuration": f"lstm-{shape}",
            "training": [[update, 4000 / (update + 10 + shape) + float(generator.random())] for update in range(100)],
            "dev_bleu": [[epoch, float(generator.random())] for epoch in range(1, 9)],
        }
        for shape in range(14)
        for seed in range(5)
    ]
    draw_learning_curves({"runs": runs}, tmp_path / "curves.png")
    assert 10_000 < (tmp_path / "curves.png").stat().st_size < 100_000


def test_runs_without_a_measurement_are_drawn(tmp_path: Path) -> None:
    runs = [{"name": "new", "configuration": "new", "training": [], "dev_bleu": []}]
    draw_learning_curves({"runs": runs}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")

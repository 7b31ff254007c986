"""Runs in JoeyNMT's virtual environment.

`drive_joeynmt.py train|translate CONFIGURATION TOKENS REPORT [SOURCE OUTPUT]` calls JoeyNMT's own
command, and writes down what batches went through the search. `drive_joeynmt.py measure REPORT WARM-UP SECONDS
CONFIGURATION` calls its train until enough updates have been counted.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    if sys.argv[1] == "measure":
        measure(*sys.argv[2:])
        return
    command, configuration, tokens, report, *files = sys.argv[1:]
    import joeynmt.prediction  # type: ignore[import-not-found]
    from joeynmt.__main__ import main as joeynmt_main  # type: ignore[import-not-found]

    if command == "train":
        sys.argv = ["joeynmt", "train", configuration, "--skip-test"]
        joeynmt_main()
        return
    source, output = files
    batch_sizes: list[int] = []
    columns: set[int] = set()
    search = joeynmt.prediction.search

    def watched(*, model: Any, batch: Any, **options: Any) -> Any:
        """The search knows a least length and forbids the end symbol until it is reached; `predict` reads it from the
        configuration but forgets to pass it on."""
        batch_sizes.append(batch.nseqs)
        columns.add(model.decoder.output_size)
        return search(model=model, batch=batch, **{**options, "min_output_length": int(tokens)})

    joeynmt.prediction.search = watched
    # Translations are taken from its standard output, because its option for a file fails on a misspelt name.
    sys.argv = ["joeynmt", "translate", configuration]
    with (
        Path(source).open(encoding="utf-8") as sys.stdin,
        Path(output).open("w", encoding="utf-8") as written,
        contextlib.redirect_stdout(written),
    ):
        joeynmt_main()
    content = {"batch_sizes": batch_sizes, "columns": max(columns)}
    Path(report).write_text(json.dumps(content), encoding="utf-8")


def measure(report: str, warm_up_seconds: str, seconds: str, configuration: str) -> None:
    """Train, and count what every batch has to predict; does not return."""
    from joeynmt.__main__ import main as joeynmt_main
    from joeynmt.model import Model  # type: ignore[import-not-found]
    from stopwatch import Stopwatch  # type: ignore[import-not-found]

    stopwatch = Stopwatch(Path(report), warm_up_seconds=float(warm_up_seconds), seconds=float(seconds))
    forward = Model.forward

    def watched(model: Any, return_type: str | None = None, **batch: Any) -> Any:
        if return_type == "loss" and model.training:
            stopwatch.update(lambda: int(batch["trg_mask"].sum()))
        return forward(model, return_type, **batch)

    Model.forward = watched
    sys.argv = ["joeynmt", "train", configuration, "--skip-test"]
    joeynmt_main()


if __name__ == "__main__":
    main()

"""Runs in OpenNMT-py's virtual environment.

`drive_opennmt.py train|translate REPORT ARGUMENT…` calls the commands onmt_train and onmt_translate, and
writes down what batches went through the search. `drive_opennmt.py measure REPORT WARM-UP SECONDS ARGUMENT…` calls
onmt_train until enough updates have been counted.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any


def main() -> None:
    command, report, *arguments = sys.argv[1:]
    # One of its many transforms, which is not used here, imports this package, of which there is no build any more.
    sys.modules["fasttext"] = types.ModuleType("fasttext")
    if command == "measure":
        measure(Path(report), *arguments)
        return
    sys.argv = [f"onmt_{command}", *arguments]
    if command == "train":
        from onmt.bin.train import main as train  # type: ignore[import-not-found]

        train()
        return
    from onmt.bin.translate import main as translate  # type: ignore[import-not-found]
    from onmt.translate.translator import Translator  # type: ignore[import-not-found]

    batch_sizes: list[int] = []
    columns: set[int] = set()
    translate_batch = Translator.translate_batch

    def watched(translator: Any, batch: dict[str, Any], *rest: Any) -> Any:
        batch_sizes.append(batch["src"].shape[0])
        columns.add(translator.model.generator.out_features)
        return translate_batch(translator, batch, *rest)

    Translator.translate_batch = watched
    translate()
    content = {"batch_sizes": batch_sizes, "columns": max(columns)}
    Path(report).write_text(json.dumps(content), encoding="utf-8")


def measure(report: Path, warm_up_seconds: str, seconds: str, *arguments: str) -> None:
    """Train, and count what every batch has to predict; does not return."""
    from onmt.bin.train import main as train
    from onmt.models.model import NMTModel  # type: ignore[import-not-found]
    from stopwatch import Stopwatch  # type: ignore[import-not-found]

    stopwatch = Stopwatch(report, warm_up_seconds=float(warm_up_seconds), seconds=float(seconds))
    forward = NMTModel.forward
    padding = 1  # the second entry of the vocabulary

    def watched(model: Any, src: Any, tgt: Any, *rest: Any, **options: Any) -> Any:
        # The first column is the start symbol, which is read and not predicted.
        stopwatch.update(lambda: int((tgt[:, 1:] != padding).sum()))
        return forward(model, src, tgt, *rest, **options)

    NMTModel.forward = watched
    sys.argv = ["onmt_train", *arguments]
    train()


if __name__ == "__main__":
    main()

"""Runs in OpenNMT-py's virtual environment.

`drive_opennmt.py train|translate REPORT ARGUMENT…` calls the commands onmt_train and onmt_translate, and
writes down what batches went through the search.
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


if __name__ == "__main__":
    main()

"""Runs in Marian's virtual environment.

`drive_marian.py train ARGUMENT…` calls Marian's own command, `drive_marian.py translate REQUEST` its Python interface.

REQUEST is JSON, as `marian.py` writes it. The model is loaded once, outside of the time that is measured.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main() -> None:
    command, *arguments = sys.argv[1:]
    import pymarian  # type: ignore[import-not-found]

    if command == "train":
        sys.exit(pymarian._pymarian.main(["train", *arguments]))
    request = json.loads(arguments[0])
    sentences = Path(request["source"]).read_text(encoding="utf-8").splitlines()
    # It counts the end symbol into the length of the source, and goes on until the length is reached.
    factor = request["tokens"] / (max(len(sentence.split()) for sentence in sentences) + 1)
    translator = pymarian.Translator(
        models=request["model"],
        vocabs=[request["vocabulary"]] * 2,
        beam_size=request["beam"],
        cpu_threads=request["threads"],
        mini_batch=request["batch_size"],
        maxi_batch=max(1, len(sentences) // request["batch_size"]),
        max_length_factor=factor,
        workspace=1000,
        log_level="warn",
    )
    begin = time.perf_counter()
    translations = translator.translate(sentences)
    seconds = time.perf_counter() - begin
    Path(request["output"]).write_text("".join(f"{line}\n" for line in translations), encoding="utf-8")
    content = {"seconds": seconds, "batch_sizes": None, "columns": request["columns"]}
    Path(request["report"]).write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()

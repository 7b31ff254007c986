"""The contender that works as LibreTranslate does: one text after another through the model, one request at a time.

LibreTranslate's server has threads for its requests, but a list of texts is a Python loop, every text of it is a call
of the translator by itself, and the calls take turns. Here is the same around our own `Translator`, so that the
difference measured is that of the way of working and not of the model.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import torch
from flask import Flask, Response, jsonify, request

from translator.config import SearchOptions
from translator.pipeline import Translator


def use_all_cores() -> None:
    """As many threads of PyTorch as the service takes by default: OMP_NUM_THREADS, else one for each core."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))))


def create_app(model: str) -> Flask:
    """`POST /translate` with JSON and `GET /health`, as far as the load generator needs them; for gunicorn."""
    use_all_cores()
    translator = Translator.load(model)
    translator.translate(["This is the first sentence."])  # the first one sets things up, as the service's warm-up does
    turn = threading.Lock()
    app = Flask(__name__)

    @app.post("/translate")
    def post_translate() -> Response:
        asked: dict[str, Any] = request.get_json()
        texts = [asked["q"]] if isinstance(asked["q"], str) else asked["q"]
        options = SearchOptions(beam_size=asked["beam_size"])
        translated = []
        for text in texts:
            with turn:
                translated += [translation.text for translation in translator.translate([text], options)]
        return jsonify({"translatedText": translated[0] if isinstance(asked["q"], str) else translated})

    @app.get("/health")
    def get_health() -> Response:
        return jsonify({"status": "ok"})

    return app

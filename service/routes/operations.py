"""`GET /health`, `/ready` and `/model`: for those who run the service."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from service.problems import unavailable
from service.state import service

blueprint = Blueprint("operations", __name__)

_HIGH_WATER_MARK = 0.8
"""A queue fuller than this is better left alone for a while."""


@blueprint.get("/health")
def get_health() -> Response:
    if not service().batcher.alive:
        raise unavailable("The decoder has stopped.")
    return jsonify({"status": "ok"})


@blueprint.get("/ready")
def get_ready() -> Response:
    shared = service()
    if not shared.batcher.alive:
        raise unavailable("The decoder has stopped.")
    if shared.batcher.restarting:
        raise unavailable("The decoder is being started again.")
    if shared.batcher.draining:
        raise unavailable("The service is shutting down.")
    if not shared.warmed_up:
        raise unavailable("The model is not warmed up yet.")
    if shared.batcher.load > _HIGH_WATER_MARK:
        raise unavailable("The queue is nearly full.")
    return jsonify({"status": "ready"})


@blueprint.get("/model")
def get_model() -> Response:
    shared = service()
    card, config = shared.card.model_dump(mode="json"), shared.model_config.model_dump(mode="json")
    return jsonify({**card, "config": config, "engine": shared.engine})

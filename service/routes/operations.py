"""`GET /health`, `/ready`, `/metrics` and `/model`: for those who run the service."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from service.problems import unavailable
from service.state import service

blueprint = Blueprint("operations", __name__)


@blueprint.get("/health")
def get_health() -> Response:
    if not service().batcher.alive:
        raise unavailable("The decoder has stopped.")
    return jsonify({"status": "ok"})


@blueprint.get("/ready")
def get_ready() -> Response:
    hindrance = service().hindrance
    if hindrance:
        raise unavailable(hindrance)
    return jsonify({"status": "ready"})


@blueprint.get("/metrics")
def get_metrics() -> Response:
    shared = service()
    shared.observe()
    text, content_type = shared.metrics.render(request.headers.get("Accept", ""))
    return Response(text, content_type=content_type)


@blueprint.get("/model")
def get_model() -> Response:
    shared = service()
    card, config = shared.card.model_dump(mode="json"), shared.model_config.model_dump(mode="json")
    return jsonify({**card, "config": config, "engine": shared.engine})

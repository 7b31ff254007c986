"""`GET /health`, `/ready`, `/metrics` and `/model`, and `POST /admin/reload` and `/admin/rollback`: for those who run
the service.
"""

from __future__ import annotations

import os
import signal

from flask import Blueprint, Response, jsonify, request

from service.models import Change
from service.problems import unavailable
from service.processes import resident_bytes, sibling_pids
from service.state import service

blueprint = Blueprint("operations", __name__)


@blueprint.get("/health")
def get_health() -> Response:
    if not service().alive:
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
    """The card of a model: the first one for the languages that the query string names."""
    shared = service()
    serving = shared.models.current
    model = serving.get(request.args.get("source"), request.args.get("target"))
    translator = model.offer.translator
    previous = shared.models.previous
    return jsonify(
        {
            **translator.card.model_dump(mode="json"),
            "config": translator.model_config.model_dump(mode="json"),
            "engine": model.engine,
            "memory": {
                "workerResidentBytes": resident_bytes(os.getpid()),
                "decoderResidentBytes": sum(resident_bytes(each.batcher.decoder_pid) for each in shared.models.all()),
            },
            "serving": [each.document() for each in serving.models.values()],
            "previous": [each.document() for each in previous.models.values()] if previous else [],
        }
    )


@blueprint.post("/admin/reload")
def post_reload() -> Response:
    return _changed(service().models.reload(), signal.SIGHUP)


@blueprint.post("/admin/rollback")
def post_rollback() -> Response:
    return _changed(service().models.rollback(), signal.SIGUSR2)


def _changed(change: Change, number: signal.Signals) -> Response:
    """What went well here is done in the other workers, too: each has models of its own."""
    others = sibling_pids() if service().settings.workers > 1 else []
    for pid in others:
        os.kill(pid, number)
    return jsonify({**change.document(), "otherWorkers": len(others)})

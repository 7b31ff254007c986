"""`GET /languages`, `POST /detect` and `GET /frontend/settings`."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from service.files import KINDS
from service.languages import AUTO, language_name
from service.schemas import DetectRequest, read_request
from service.state import service

blueprint = Blueprint("languages", __name__)

_LIMITS = (
    "characters_per_text",
    "texts_per_request",
    "characters_per_request",
    "body_bytes",
    "alternatives",
    "beam_size",
    "max_length",
    "concurrent_requests",
    "queue_texts",
    "queue_characters",
    "queue_sentences",
    "queue_tokens",
    "work_per_request",
    "deadline_seconds",
)


@blueprint.get("/languages")
def get_languages() -> Response:
    listed = [
        {"code": source, "name": language_name(source), "targets": targets}
        for source, targets in service().languages.targets.items()
    ]
    return jsonify(listed)


@blueprint.post("/detect")
def post_detect() -> Response:
    asked = read_request(DetectRequest, request)
    asked.check_limits(service().settings)
    return jsonify([guess.document() for guess in service().languages.guesses(asked.q)])


@blueprint.get("/frontend/settings")
def get_frontend_settings() -> Response:
    settings, languages = service().settings, service().languages
    return jsonify(
        {
            "charLimit": settings.characters_per_text,
            "frontendTimeout": 500,  # milliseconds a page waits for the next key before it asks for a translation
            "apiKeys": service().keys.needed,
            "keyRequired": service().keys.needed,
            "suggestions": False,
            "filesTranslation": True,
            "supportedFilesFormat": list(KINDS),
            "language": {
                "source": {"code": AUTO, "name": "Auto Detect"},
                "target": {"code": languages.target, "name": language_name(languages.target)},
            },
            "limits": {name: getattr(settings, name) for name in _LIMITS},
        }
    )

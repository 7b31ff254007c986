"""`POST /v2/translate` and `GET /v2/languages`, in DeepL's shape: for its official clients."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from service.languages import language_name
from service.problems import bad_request
from service.routes.translate import begin_work
from service.schemas import DeepLRequest, read_request
from service.state import service

blueprint = Blueprint("deepl", __name__)


@blueprint.post("/v2/translate")
def post_translate() -> Response:
    asked = read_request(DeepLRequest, request).as_translation()
    answer = begin_work(asked).answer()
    guesses = answer.get("detectedLanguage") or [{"language": asked.source}] * len(asked.texts)
    return jsonify(
        {
            "translations": [
                {
                    "text": translated,
                    "detected_source_language": guess["language"].upper(),
                    "billed_characters": len(text),
                }
                for text, translated, guess in zip(asked.texts, answer["translatedText"], guesses, strict=True)
            ]
        }
    )


@blueprint.get("/v2/languages")
def get_languages() -> Response:
    # DeepL's own client sends it as a form, even with GET.
    kind = request.args.get("type") or request.form.get("type") or "source"
    if kind not in ("source", "target"):
        raise bad_request("type must be 'source' or 'target'.")
    languages = service().languages
    codes = list(languages.targets)
    if kind == "target":
        codes = list(dict.fromkeys(target for targets in languages.targets.values() for target in targets))
    return jsonify(
        [{"language": code.upper(), "name": language_name(code), "supports_formality": False} for code in codes]
    )

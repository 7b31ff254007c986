"""`POST /translate_file` and `GET /download_file/<name>`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import PurePath

from flask import Blueprint, Response, g, jsonify, request, url_for

from service.file_store import FileStore
from service.files import KINDS, FileKind, OpenFile
from service.jobs import QueueFullError
from service.languages import AUTO
from service.problems import Problem, bad_request
from service.protection import Protection
from service.routing import Route
from service.schemas import FileRequest, read_request
from service.state import seconds_left, service
from service.translation import Desk
from translator.config import SearchOptions
from translator.ticket import DeadlineError
from translator.translation import Translation

blueprint = Blueprint("files", __name__)

_TEXTS_AT_ONCE = 50
_PAUSE_SECONDS = 0.1
_SAMPLE_CHARACTERS = 2_000
_store = FileStore()


@blueprint.post("/translate_file")
def post_translate_file() -> Response:
    asked = read_request(FileRequest, request)
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        raise bad_request("file is missing: send one as multipart/form-data.")
    name = PurePath(sent.filename.replace("\\", "/"))
    kind = KINDS.get(name.suffix.lower())
    if kind is None:
        raise bad_request(f"Files of this kind are not translated; send one of {', '.join(KINDS)}.")
    content, warnings = _translated(kind, sent.read(), asked)
    kept = _store.put(f"{name.stem}.{asked.target}{name.suffix.lower()}", content)
    address = url_for("files.get_download_file", name=kept, _external=True)
    return jsonify({"translatedFileUrl": address, **({"warnings": warnings} if warnings else {})})


@blueprint.get("/download_file/<name>")
def get_download_file(name: str) -> Response:
    found = _store.get(name)
    if found is None:
        raise Problem(404, "There is no such file, or no longer.")
    file_name, content = found
    kind = KINDS.get(PurePath(file_name).suffix)
    response = Response(content, content_type=kind.media_type if kind else "application/octet-stream")
    response.headers.set("Content-Disposition", "attachment", filename=file_name)
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["Cache-Control"] = "private, no-store"
    return response


def _translated(kind: FileKind, content: bytes, asked: FileRequest) -> tuple[bytes, list[str]]:
    """The translated file, and what is to be warned of. Raises `Problem` (400)."""
    shared = service()
    if asked.source != AUTO:
        shared.languages.check_pair(asked.source, asked.target)
    language = shared.languages.source if asked.source == AUTO else asked.source
    opened = kind.read(content, language)
    characters = sum(document.characters for document in opened.documents)
    g.measures = {"texts": len(opened.documents), "characters": characters}
    if characters > shared.settings.characters_per_request:
        raise bad_request(
            f"The file has {characters:,} characters; at most {shared.settings.characters_per_request:,} are allowed."
        )
    source = asked.source
    if source == AUTO:
        source = shared.languages.source_of(_sample(opened), asked.target).language
    if source == asked.target:
        return content, []
    desk = Desk(
        partial(_patient, shared.route(source, asked.target)),
        SearchOptions(),
        Protection(asked.do_not_translate, asked.glossary),
        language=source,
    )
    found = desk.translate(opened.documents)
    warnings = dict.fromkeys(warning for one in found for warning in one.warnings)
    return opened.written([one.text for one in found]), list(warnings)


def _sample(opened: OpenFile) -> str:
    """Some of a file's text."""
    sample = ""
    for document in opened.documents:
        for text in document.texts:
            if len(sample) > _SAMPLE_CHARACTERS:
                return sample
            sample += text + "\n"
    return sample


def _patient(route: Route, texts: Sequence[str], options: SearchOptions) -> list[Translation]:
    """The translations of a file's texts, some at a time, so that a long file takes no more of the queue than a short
    request. Where the queue is full, what is begun waits.
    """
    translations: list[Translation] = []
    while len(translations) < len(texts):
        some = texts[len(translations) : len(translations) + _TEXTS_AT_ONCE]
        try:
            translations += route.translate(some, options, seconds=seconds_left())
        except QueueFullError:
            if not translations:
                raise
            if not seconds_left():
                raise DeadlineError from None
            time.sleep(_PAUSE_SECONDS)
    return translations

"""`POST /vectors`: what the encoder makes of sentences, and their places on a plane. `POST /similar`: what it has seen
that is like a sentence.
"""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus

from flask import Blueprint, Response, g, jsonify, request

from service.models import Model
from service.problems import Problem, bad_request
from service.projection import principal_components
from service.schemas import SimilarRequest, VectorsRequest, read_request
from service.state import seconds_left, service
from translator.ensemble import SEPARATOR

blueprint = Blueprint("vectors", __name__)


@blueprint.post("/vectors")
def post_vectors() -> Response:
    asked = read_request(VectorsRequest, request)
    shared = service()
    asked.check_limits(shared.settings)
    g.measures = {"texts": len(asked.texts), "characters": sum(map(len, asked.texts))}
    model = reading_model(asked.source, asked.target)
    vectors_ND = model.batcher.vectors(asked.texts, seconds=seconds_left())
    coordinates_N2, explained = principal_components(vectors_ND)
    answer = {"coordinates": coordinates_N2.tolist(), "explained": explained.tolist()}
    if asked.vectors:
        answer["vectors"] = vectors_ND.tolist()
    return jsonify(answer)


@blueprint.post("/similar")
def post_similar() -> Response:
    asked = read_request(SimilarRequest, request)
    asked.check_limits(service().settings)
    g.measures = {"texts": 1, "characters": len(asked.q)}
    model = reading_model(asked.source, asked.target)
    if model.offer.pairs is None:
        raise Problem(
            HTTPStatus.NOT_FOUND, "The model has no index of its training pairs; python -m training index makes one."
        )
    (vector_D,) = model.batcher.vectors([asked.q], seconds=seconds_left())
    return jsonify({"pairs": [asdict(pair) for pair in model.offer.pairs.nearest(vector_D, asked.count)]})


def reading_model(source: str | None, target: str | None) -> Model:
    """The first model for these languages. Raises `Problem` (400): there is none, or it is an ensemble."""
    model = service().models.current.get(source, target)
    if SEPARATOR in model.offer.name:
        raise bad_request("An ensemble has no one vector of a sentence; serve a single model for this.")
    return model

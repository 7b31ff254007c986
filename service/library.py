"""The model directories that the settings name, as models that may be served."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from service.canaries import read_canaries
from service.decoder import card_identity
from service.models import Offer
from service.remote_decoder import DecoderDiedError, RemoteDecoder
from service.settings import Settings
from translator.description import SHIPPED_MODELS
from translator.ensemble import SEPARATOR, model_paths
from translator.pair_index import PairIndex
from translator.texts import Texts


def model_names(settings: Settings) -> list[str]:
    """What is to be served, each as `Translator.load` takes it. Raises `ValueError` where there is nothing."""
    if settings.model and not settings.models:
        return [SEPARATOR.join(map(str, model_paths(settings.model)))]
    directory = Path(settings.models or SHIPPED_MODELS)
    if not directory.is_dir():
        raise ValueError(f"{directory}: there is no such directory; TRANSLATE_MODELS names one of model directories")
    found = [path for path in sorted(directory.iterdir()) if path.name[0] != "." and (path / "config.json").is_file()]
    if not found:
        raise ValueError(f"{directory}: holds no model directory, that is, none with a config.json")
    return [str(path) for path in found]


def find_offers(settings: Settings) -> list[Offer]:
    """Raises `ValueError`, whose message says what to do."""
    return [_offer(name, settings) for name in model_names(settings)]


def _offer(name: str, settings: Settings) -> Offer:
    texts = Texts.read(name)
    canaries = {source: target for path in model_paths(name) for source, target in read_canaries(path).items()}
    paths = model_paths(name)
    pairs = PairIndex.read(paths[0]) if len(paths) == 1 else None
    return Offer(name, texts, partial(_start, name, card_identity(texts.card), settings), canaries, pairs)


def _start(name: str, identity: str, settings: Settings) -> RemoteDecoder:
    decoder = RemoteDecoder(
        name,
        identity=identity,
        engine=settings.engine,
        threads=settings.decoding_threads(),
        rows=settings.batch_rows,
    )
    try:
        decoder.wait_until_loaded()
    except (ValueError, DecoderDiedError) as error:
        decoder.close()
        raise ValueError(str(error)) from None
    return decoder

"""Which model translates what: loading, swapping without a lost request, rolling back.

Models are found anew at each `reload`. One whose card differs from the running one's is loaded beside it, translates
the canaries, and then takes its place: what comes from then on goes to the new one, what is under way is finished by
the old one. The models from before stay loaded until the next reload, so that `rollback` costs nothing; what was
replaced earlier is let go. Every model has a decoder process and a queue of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import structlog

from service.batching import Batcher
from service.canaries import Canary, CanaryError, checked_canaries
from service.decoder import Decoder, TextTranslator, card_identity
from service.jobs import Client
from service.languages import Languages, describe
from service.metrics import Metrics
from service.problems import bad_request
from service.processes import resident_bytes
from service.settings import Settings
from translator.pair_index import PairIndex

log = structlog.get_logger(__name__)

Pair = tuple[str, str]
"""Source and target language."""

_RETIRING_SECONDS = 3_600.0


class LoadError(ValueError):
    """Models that cannot be served as they are; the message says which and why. Those that run go on."""


@dataclass(frozen=True)
class Offer:
    """A model that may be served. `translator` is cheap; `start` loads the weights and raises `ValueError`."""

    name: str
    translator: TextTranslator
    start: Callable[[], Decoder]
    canaries: dict[str, str] = field(default_factory=dict)
    pairs: PairIndex | None = None  # training pairs, where the model has them at hand

    @property
    def pair(self) -> Pair:
        return self.translator.card.source_language, self.translator.card.target_language


@dataclass(frozen=True, eq=False)
class Model:
    """A model that is loaded."""

    offer: Offer
    engine: str
    batcher: Batcher

    @property
    def pair(self) -> Pair:
        return self.offer.pair

    @property
    def identity(self) -> str:
        return card_identity(self.offer.translator.card)

    def document(self) -> dict[str, object]:
        card = self.offer.translator.card
        return {
            "pair": "-".join(self.pair),
            "name": card.name,
            "sha256": card.digest,
            "engine": self.engine,
            "decoderResidentBytes": resident_bytes(self.batcher.decoder_pid),
        }


@dataclass(frozen=True)
class Generation:
    """The models that are served together."""

    models: dict[Pair, Model]
    languages: Languages

    @property
    def default(self) -> Model:
        """The first one, which the page shows."""
        return next(iter(self.models.values()))

    def find(self, source: str | None, target: str | None) -> Model | None:
        """The first one that translates from `source` into `target`; None is any language."""
        fitting = (
            model for pair, model in self.models.items() if source in (None, pair[0]) and target in (None, pair[1])
        )
        return next(fitting, None)

    def get(self, source: str | None, target: str | None) -> Model:
        """As `find`; raises `Problem` (400) where there is none."""
        model = self.find(source, target)
        if model is None:
            named = [f"from {describe(source)}"] if source is not None else []
            named += [f"into {describe(target)}"] if target is not None else []
            raise bad_request(f"There is no model {' '.join(named)}; /languages lists what is served.")
        return model


@dataclass(frozen=True)
class Change:
    """What a reload or a rollback did."""

    loaded: list[str]
    removed: list[str]
    canaries: list[Canary]

    def document(self) -> dict[str, object]:
        return {
            "loaded": self.loaded,
            "removed": self.removed,
            "canaries": [canary.document() for canary in self.canaries],
        }


class Models:
    """Safe for several threads; one change is made at a time."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        find: Callable[[], list[Offer]],
        *,
        client: Client | None = None,
    ) -> None:
        """Load all models that `find` finds. Raises `LoadError`; nothing stays loaded then."""
        self._settings = settings
        self._metrics = metrics
        self._find = find
        self._client = client or Client()
        self._changing = threading.Lock()
        self._draining = False
        self._previous: Generation | None = None
        loaded: dict[Pair, Model] = {}
        try:
            for offer in self._offers():
                loaded[offer.pair] = self._start(offer)
        except LoadError:
            _end(loaded.values(), 0.0)
            raise
        self._current = self._generation(loaded)
        self._tell()

    @property
    def current(self) -> Generation:
        return self._current

    @property
    def previous(self) -> Generation | None:
        """What `rollback` goes back to."""
        return self._previous

    @property
    def texts_at_once(self) -> int:
        """As many texts as always fit into a queue in which there is room."""
        return self._settings.texts_per_request

    @property
    def draining(self) -> bool:
        return self._draining

    def warm_up(self) -> None:
        """Translate the canaries of every model, so that the first request does not pay for what is then set up.

        Raises `LoadError` where a model does not stand the test.
        """
        for model in self._current.models.values():
            self._check(model, None)

    def reload(self, *, wait: bool = False) -> Change:
        """Serve what is there to be served now. Raises `LoadError`; everything is then as it was before.

        While another change is under way, `wait` for its end, or that is an error.
        """
        with _OneChange(self._changing, wait):
            before = self._current.models
            fresh: dict[Pair, Model] = {}
            canaries: list[Canary] = []
            models: dict[Pair, Model] = {}
            try:
                for offer in self._offers():
                    running = before.get(offer.pair)
                    if running is not None and running.identity == card_identity(offer.translator.card):
                        models[offer.pair] = running
                        continue
                    models[offer.pair] = fresh[offer.pair] = self._start(offer)
                    canaries += self._check(fresh[offer.pair], running)
            except LoadError:
                self._metrics.reloads.labels("refused").inc()
                _end(fresh.values(), 0.0)
                raise
            removed = [pair for pair in before if pair not in models]
            if not fresh and not removed:
                self._metrics.reloads.labels("unchanged").inc()
                return Change([], [], [])
            self._serve(self._generation(models))
            self._metrics.reloads.labels("swapped").inc()
            return Change(["-".join(pair) for pair in fresh], ["-".join(pair) for pair in removed], canaries)

    def rollback(self, *, wait: bool = False) -> Change:
        """Serve the models from before the last change again. Raises `LoadError` where there are none; see `reload`."""
        with _OneChange(self._changing, wait):
            if self._previous is None:
                raise LoadError("There is nothing to go back to: no models have been exchanged yet.")
            before, after = self._current.models, self._previous.models
            self._serve(self._previous)
            self._metrics.reloads.labels("rolled_back").inc()
            back = ["-".join(pair) for pair, model in after.items() if before.get(pair) is not model]
            return Change(back, ["-".join(pair) for pair in before if pair not in after], [])

    def all(self) -> Iterator[Model]:
        """Every model that is loaded, each once."""
        previous = self._previous.models.values() if self._previous is not None else ()
        yield from dict.fromkeys([*self._current.models.values(), *previous])

    def observe(self) -> None:
        """Bring those metrics up to date that say how things are now."""
        for model in self._current.models.values():
            model.batcher.observe()
        self._metrics.memory.labels("decoder").set(
            sum(resident_bytes(model.batcher.decoder_pid) for model in self.all())
        )

    def drain(self) -> None:
        """Take in nothing new from now on."""
        self._draining = True
        for model in self.all():
            model.batcher.drain()

    def stop(self, seconds: float) -> bool:
        """Drain and end all decoders; False if one did not end within `seconds`."""
        self._draining = True
        return _end(self.all(), seconds)

    def _offers(self) -> list[Offer]:
        try:
            offers = self._find()
        except ValueError as error:
            raise LoadError(str(error)) from error
        names: dict[Pair, str] = {}
        for offer in offers:
            if offer.pair in names:
                raise LoadError(
                    f"{names[offer.pair]} and {offer.name} both translate {' into '.join(offer.pair)}; keep one of them"
                )
            names[offer.pair] = offer.name
        return offers

    def _start(self, offer: Offer) -> Model:
        try:
            decoder = offer.start()
        except ValueError as error:
            raise LoadError(str(error)) from error
        settings = self._settings
        batcher = Batcher(
            offer.translator,
            decoder,
            bounds=settings.queue_bounds,
            batch_rows=settings.batch_rows,
            work_per_request=settings.work_per_request,
            metrics=self._metrics.pair("-".join(offer.pair)),
            client=self._client,
        )
        return Model(offer, decoder.describe(), batcher)

    @staticmethod
    def _check(model: Model, running: Model | None) -> list[Canary]:
        try:
            return checked_canaries(
                model.offer.translator.card, model.offer.canaries, model.batcher, running.batcher if running else None
            )
        except CanaryError as error:
            raise LoadError(f"{model.offer.name}: {error}") from error

    def _generation(self, models: dict[Pair, Model]) -> Generation:
        return Generation(models, Languages(list(models)))

    def _serve(self, generation: Generation) -> None:
        """From here on. The models of before are kept, those of still earlier let go."""
        known = list(self.all())
        self._previous, self._current = self._current, generation
        kept = set(self.all())
        gone = [model for model in known if model not in kept]
        if gone:
            threading.Thread(target=_end, args=(gone, _RETIRING_SECONDS), name="retiring", daemon=True).start()
        self._tell()

    def _tell(self) -> None:
        serving = set(self._current.models.values())
        for model in self.all():
            card = model.offer.translator.card
            info = self._metrics.model_info.labels("-".join(model.pair), card.name, model.engine, card.digest)
            info.set(model in serving)
            log.info("model", pair="-".join(model.pair), name=card.name, serving=model in serving)


class _OneChange:
    """A lock that whoever can be answered does not wait for: two changes at once would be a mistake of theirs."""

    def __init__(self, lock: threading.Lock, wait: bool) -> None:
        self._lock = lock
        self._wait = wait

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=self._wait):
            raise LoadError("The models are being exchanged already; try again when that is done.")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _end(models: Iterable[Model], seconds: float) -> bool:
    ended = True
    for model in models:
        ended = model.batcher.stop(seconds) and ended
    return ended

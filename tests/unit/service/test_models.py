"""Models that are loaded, tried, exchanged and taken back, and the way of a text through one or two of them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.application import create_app
from service.canaries import CanaryError, read_canaries
from service.keys import create_key
from service.metrics import Metrics
from service.models import LoadError, Models, Offer
from service.routing import Route
from service.settings import Settings
from service.state import service_of
from tests.unit.service.capitals import PATIENCE, CapitalsTranslator, NearDecoder
from tests.unit.service.test_batching import texts_of, until
from translator.config import SearchOptions

OPTIONS = SearchOptions()


class Shelf:
    """Models that can be put in and taken out, as directories are."""

    def __init__(self) -> None:
        self.offers: dict[str, Offer] = {}
        self.translators: dict[str, CapitalsTranslator] = {}
        self.decoders: list[NearDecoder] = []

    def put(self, source: str, target: str, name: str, canaries: dict[str, str] | None = None, **broken: Any) -> None:
        translator = CapitalsTranslator()
        update = {"source_language": source, "target_language": target, "name": name}
        translator.card = translator.card.model_copy(update=update)
        for method, replacement in broken.items():
            setattr(translator, method, replacement)

        def start() -> NearDecoder:
            decoder = NearDecoder(translator.engine)
            self.decoders.append(decoder)
            return decoder

        self.translators[name] = translator
        self.offers[f"{source}-{target}"] = Offer(name, translator, start, canaries or {})

    def find(self) -> list[Offer]:
        return list(self.offers.values())


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf()
    shelf.put("en", "fr", "first")
    return shelf


@pytest.fixture
def make_models() -> Iterator[Callable[[Shelf], Models]]:
    made: list[Models] = []

    def make(shelf: Shelf) -> Models:
        made.append(Models(Settings(), Metrics(), shelf.find))
        return made[-1]

    yield make
    for models in made:
        assert models.stop(PATIENCE)


def serving(models: Models) -> list[str]:
    return [model.offer.name for model in models.current.models.values()]


def translated(models: Models, text: str, source: str = "en", target: str = "fr") -> str:
    return Route(models, source, target).translate([text], OPTIONS, seconds=PATIENCE)[0].text


def test_a_reload_without_a_change_loads_nothing(shelf: Shelf, make_models: Any) -> None:
    models = make_models(shelf)
    assert models.reload().document() == {"loaded": [], "removed": [], "canaries": []}
    assert len(shelf.decoders) == 1
    assert models.previous is None


def test_a_changed_model_takes_the_other_s_place_and_can_be_taken_back(shelf: Shelf, make_models: Any) -> None:
    models = make_models(shelf)
    shelf.put("en", "fr", "second")
    change = models.reload()
    assert change.loaded == ["en-fr"]
    assert [canary.document() for canary in change.canaries] == [
        {"source": "Where is the station?", "before": "WHERE IS THE STATION?", "after": "WHERE IS THE STATION?"},
        {"source": "It's raining.", "before": "IT'S RAINING.", "after": "IT'S RAINING."},
    ]
    assert serving(models) == ["second"]
    assert translated(models, "hello") == "HELLO"
    assert shelf.translators["second"].calls[-1] == ["hello"]

    assert models.rollback().loaded == ["en-fr"]
    assert serving(models) == ["first"]
    assert translated(models, "again") == "AGAIN"
    assert shelf.translators["first"].calls[-1] == ["again"]
    assert len(shelf.decoders) == 2, "nothing was loaded for it"
    models.rollback()
    assert serving(models) == ["second"], "a rollback can be taken back, too"


def test_what_was_replaced_twice_is_let_go(shelf: Shelf, make_models: Any) -> None:
    models = make_models(shelf)
    for name in ("second", "third"):
        shelf.put("en", "fr", name)
        models.reload()
    until(lambda: shelf.decoders[0].closed)
    assert [decoder.closed for decoder in shelf.decoders] == [True, False, False]
    assert [model.offer.name for model in models.all()] == ["third", "second"]


def test_without_a_change_before_there_is_no_way_back(shelf: Shelf, make_models: Any) -> None:
    with pytest.raises(LoadError, match="nothing to go back to"):
        make_models(shelf).rollback()


def failing(*_: Any) -> Any:
    raise ValueError("broken weights")


@pytest.mark.parametrize(
    ("broken", "canaries", "message"),
    [
        ({"draft": failing}, {}, r"second: the model cannot translate \(broken weights\)"),
        ({}, {"Hello.": "BONJOUR."}, r"second: 'Hello.' becomes 'HELLO.', where canaries.json expects 'BONJOUR.'"),
    ],
)
def test_a_model_that_does_not_stand_the_test_changes_nothing(
    shelf: Shelf, make_models: Any, broken: dict[str, Any], canaries: dict[str, str], message: str
) -> None:
    models = make_models(shelf)
    shelf.put("en", "fr", "second", canaries, **broken)
    with pytest.raises(LoadError, match=message):
        models.reload()
    assert serving(models) == ["first"]
    assert translated(models, "hello") == "HELLO"
    until(lambda: shelf.decoders[1].closed)
    assert models.previous is None


@pytest.mark.parametrize(
    ("change", "message"), [({"text": " "}, "is empty"), ({"score": float("nan")}, "the score of .* is nan")]
)
def test_empty_translations_and_scores_that_are_no_numbers_fail_the_test(
    shelf: Shelf, make_models: Any, change: dict[str, Any], message: str
) -> None:
    shelf.put("en", "fr", "broken")
    translator = shelf.translators["broken"]
    finish = translator.finish
    translator.finish = lambda draft, found: replace(finish(draft, found), **change)  # type: ignore[method-assign]
    with pytest.raises(LoadError, match=message):
        make_models(shelf).warm_up()


def test_models_that_meet_what_is_expected_pass(shelf: Shelf, make_models: Any) -> None:
    models = make_models(shelf)
    shelf.put("en", "fr", "second", {"Hello.": "HELLO."})
    assert ("Hello.", "HELLO.") in [(canary.source, canary.after) for canary in models.reload().canaries]


def test_two_models_for_one_pair_are_refused(shelf: Shelf, make_models: Any) -> None:
    shelf.offers["another"] = shelf.offers["en-fr"]
    with pytest.raises(LoadError, match="first and first both translate en into fr; keep one of them"):
        make_models(shelf)


def test_what_cannot_be_found_or_loaded_is_said(shelf: Shelf, make_models: Any, monkeypatch: Any) -> None:
    models = make_models(shelf)
    monkeypatch.setattr(shelf, "find", failing)
    models._find = failing
    with pytest.raises(LoadError, match="broken weights"):
        models.reload()
    translator = CapitalsTranslator()
    translator.card = translator.card.model_copy(update={"name": "other"})
    models._find = lambda: [Offer("other", translator, failing)]
    with pytest.raises(LoadError, match="broken weights"):
        models.reload()
    assert serving(models) == ["first"]


def test_what_is_under_way_is_finished_by_the_old_model(shelf: Shelf, make_models: Any) -> None:
    models = make_models(shelf)
    old = shelf.translators["first"]
    old.may_go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(translated, models, "held")
        assert old.entered.acquire(timeout=PATIENCE)
        shelf.put("en", "fr", "second")
        swapped = threading.Thread(target=models.reload)
        swapped.start()
        until(lambda: len(shelf.decoders) == 2)
        old.may_go_on.set()  # the old one is also asked for the canaries
        swapped.join(PATIENCE)
        assert waiting.result(PATIENCE) == "HELD"
    assert old.calls[0] == ["held"]
    assert translated(models, "next") == "NEXT"
    assert shelf.translators["second"].calls[-1] == ["next"]


def test_no_request_is_lost_while_models_come_and_go(shelf: Shelf, make_models: Any) -> None:
    models = make_models(shelf)
    done = threading.Event()

    def ask(number: int) -> int:
        asked = 0
        while not done.is_set():
            assert translated(models, f"text {number} {asked}") == f"TEXT {number} {asked}"
            asked += 1
        return asked

    with ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(ask, number) for number in range(4)]
        for round_number in range(20):
            shelf.put("en", "fr", f"model {round_number}")
            models.reload()
            if round_number % 5 == 0:
                models.rollback()
        done.set()
        assert all(asker.result(PATIENCE) > 0 for asker in askers)


def test_only_one_change_is_made_at_a_time(shelf: Shelf, make_models: Any) -> None:
    models = make_models(shelf)
    shelf.put("en", "fr", "second")
    shelf.translators["second"].may_go_on.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(models.reload)
        assert shelf.translators["second"].entered.acquire(timeout=PATIENCE)
        for change in (models.reload, models.rollback):
            with pytest.raises(LoadError, match="being exchanged already"):
                change()
        shelf.put("fr", "en", "third")  # too late for the first
        signalled = pool.submit(models.reload, wait=True)
        shelf.translators["second"].may_go_on.set()
        assert first.result(PATIENCE).loaded == ["en-fr"]
        assert signalled.result(PATIENCE).loaded == ["fr-en"]


@pytest.fixture
def several() -> Shelf:
    shelf = Shelf()
    for pair in ("en-fr", "fr-de", "de-it"):
        shelf.put(*pair.split("-"), pair)  # type: ignore[call-arg]
    return shelf


def test_where_there_is_no_model_for_a_pair_two_are_used_and_that_is_said(several: Shelf, make_models: Any) -> None:
    models = make_models(several)
    text = "  one\n\n two \nthree"
    (found,) = Route(models, "en", "de").translate([text], OPTIONS, seconds=PATIENCE)
    assert found.text == text.upper()
    assert found.warnings == ("pivot: translated by way of French (fr)",)
    assert several.translators["en-fr"].calls == [["  one", " two ", "three"]]
    assert several.translators["fr-de"].calls == [["  ONE", " TWO ", "THREE"]]
    for sentence in found.sentences:
        assert text[sentence.source_start : sentence.source_end] == sentence.source
        assert found.text[sentence.target_start : sentence.target_end] == sentence.text
    single = Route(models, "en", "fr").translate([text], OPTIONS, seconds=PATIENCE)[0]
    assert single.warnings == ()
    assert found.score == pytest.approx(2 * single.score)


def test_alternatives_and_streams_come_from_the_second_of_two(several: Shelf, make_models: Any) -> None:
    models = make_models(several)
    route = Route(models, "fr", "it")
    (found,) = route.translate(["a"], SearchOptions(alternatives=2), seconds=PATIENCE)
    assert [other.text for other in found.alternatives] == ["A 1", "A 2"]
    assert several.translators["fr-de"].options[-1].alternatives == 0
    streamed = list(route.stream(["a\nb", "c"], OPTIONS, seconds=PATIENCE))
    assert [(number, part.text) for number, _, part in streamed] == [(0, "A"), (0, "B"), (1, "C")]
    assert all(part.warnings == ("pivot: translated by way of German (de)",) for _, _, part in streamed)
    assert list(route.stream([], OPTIONS, seconds=PATIENCE)) == []
    assert texts_of(route.translate([" ", ""], OPTIONS, seconds=PATIENCE)) == [" ", ""]


def test_more_sentences_than_a_queue_has_texts_take_the_way_by_two_as_well(several: Shelf, make_models: Any) -> None:
    models = make_models(several)
    text = "\n".join(f"sentence {number}" for number in range(700))
    assert translated(models, text, "en", "de") == text.upper()


@pytest.fixture
def client(several: Shelf, tmp_path: Path) -> Iterator[FlaskClient]:
    key = create_key(tmp_path / "keys.json", "boss", ("translate", "admin"), "")
    app = create_app(Settings(api_keys=str(tmp_path / "keys.json")), several.find)
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key}"
    yield client
    for translator in several.translators.values():
        translator.may_go_on.set()
    assert service_of(app).models.stop(PATIENCE)


def test_several_pairs_are_served(client: FlaskClient, several: Shelf) -> None:
    assert client.get("/languages").json == [
        {"code": "en", "name": "English", "targets": ["fr", "de"]},
        {"code": "fr", "name": "French", "targets": ["de", "it"]},
        {"code": "de", "name": "German", "targets": ["it"]},
    ]
    for source, target, warnings in (("en", "fr", None), ("fr", "de", None), ("en", "de", ["pivot: "])):
        answer = client.post("/translate", json={"q": "a", "source": source, "target": target}).json
        assert answer is not None
        assert answer["translatedText"] == "A"
        assert [warning[:7] for warning in answer.get("warnings", [])] == (warnings or [])
    refused = client.post("/translate", json={"q": "a", "source": "en", "target": "it"})
    assert refused.status_code == 400


def test_texts_of_one_request_may_be_in_several_languages(client: FlaskClient, several: Shelf) -> None:
    texts = ["Où est la gare ?", "Where is the station?", "Wo ist der Bahnhof?", "La gare est là."]
    answer = client.post("/translate", json={"q": texts, "source": "auto", "target": "de"}).json
    assert answer is not None
    assert answer["translatedText"] == [texts[0].upper(), texts[1].upper(), texts[2], texts[3].upper()]
    assert [guess["language"] for guess in answer["detectedLanguage"]] == ["fr", "en", "de", "fr"]
    assert several.translators["en-fr"].calls == [[texts[1]]]


def test_what_is_loaded_and_its_memory_stand_on_the_card(client: FlaskClient, several: Shelf) -> None:
    card = client.get("/model").json
    assert card is not None
    assert card["name"] == "en-fr"
    assert [model["pair"] for model in card["serving"]] == ["en-fr", "fr-de", "de-it"]
    assert card["memory"]["workerResidentBytes"] > 10_000_000
    assert card["memory"]["decoderResidentBytes"] > 10_000_000
    assert card["previous"] == []
    other = client.get("/model", query_string={"source": "fr", "target": "de"}).json
    assert other is not None
    assert other["name"] == "fr-de"
    for query, name in (("source=fr", "fr-de"), ("target=it", "de-it")):
        assert client.get(f"/model?{query}").json["name"] == name  # type: ignore[index]
    refused = client.get("/model?source=en&target=it")
    assert refused.status_code == 400
    assert "no model from English (en) into Italian (it);" in refused.json["error"]  # type: ignore[index]
    assert "no model from Italian (it);" in client.get("/model?source=it").json["error"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("query", "title", "name"),
    [
        ("", "English to French", "en-fr"),
        ("source=fr&target=de", "French to German", "fr-de"),
        ("source=fr", "French to German", "fr-de"),
        ("source=&target=it", "German to Italian", "de-it"),
        ("source=en&target=de", "English to German", None),  # by way of French
        ("source=en&target=it", "English to French", "en-fr"),  # which there is no way to
        ("source=%00&target=%FF", "English to French", "en-fr"),
    ],
)
def test_every_pair_has_its_page(client: FlaskClient, query: str, title: str, name: str | None) -> None:
    page = client.get(f"/?{query}").text
    assert f"<title>{title}</title>" in page
    shown = re.search(r'<p id="model" class="model"( hidden)?>\s*<span>([^<]+)</span>', page)
    assert shown is not None
    assert (None if shown[1] else shown[2]) == name
    assert ("Model card (JSON)" in page) == (name is not None)
    if name is not None:
        assert f"What {name} makes of sentences" in client.get(f"/vectors?{query}").text


def test_administrators_exchange_models(client: FlaskClient, several: Shelf) -> None:
    assert client.post("/admin/rollback").status_code == 409
    several.put("en", "fr", "better")
    change = client.post("/admin/reload").json
    assert change is not None
    assert (change["loaded"], change["removed"], change["otherWorkers"]) == (["en-fr"], [], 0)
    assert change["canaries"][0]["after"] == "WHERE IS THE STATION?"
    assert client.get("/model").json["name"] == "better"  # type: ignore[index]
    del several.offers["de-it"]
    assert client.post("/admin/reload").json["removed"] == ["de-it"]  # type: ignore[index]
    assert client.post("/translate", json={"q": "a", "source": "de", "target": "it"}).status_code == 400
    assert client.post("/admin/rollback").json["loaded"] == ["de-it"]  # type: ignore[index]
    assert client.post("/translate", json={"q": "a", "source": "de", "target": "it"}).status_code == 200
    several.put("en", "fr", "broken", draft=failing)
    refused = client.post("/admin/reload")
    assert refused.status_code == 409
    assert "broken" in refused.json["error"]  # type: ignore[index]
    assert client.post("/translate", json={"q": "a", "source": "en", "target": "fr"}).status_code == 200


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 5}'])
def test_bad_files_of_canaries(tmp_path: Path, content: str) -> None:
    assert read_canaries(tmp_path) == {}
    (tmp_path / "canaries.json").write_text(content)
    with pytest.raises(CanaryError, match=r"canaries\.json"):
        read_canaries(tmp_path)

"""Language models: their probabilities, texts drawn from them, their directory, and fusion by brute force."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from tests.engines import EOS, PAD, network, search
from training.subwords import train_vocabulary
from translator import ModelDirectoryError, Translator
from translator.config import CellName, SearchOptions
from translator.directory import load_model
from translator.engines import ReferenceEngine
from translator.engines.fusion import FusedEngine
from translator.fusion import with_language_model
from translator.generation import generate, log_probabilities, predict
from translator.language_model import LanguageModelConfig, LanguageModelSteps, RecurrentLanguageModel, score_texts
from translator.language_model_directory import (
    LanguageModelCard,
    LoadedLanguageModel,
    load_language_model,
    save_language_model,
)
from translator.vocabulary import Vocabulary

CELLS = get_args(CellName)
WORDS = ("abba", "ab", "cab", "bac", "acca")
CARD = LanguageModelCard(name="letters", language="en", unit="line", intended_use="Tests.", not_for="Reading.")


def language_model(vocabulary_size: int = 14, *, scale: float = 1.0, **options: Any) -> RecurrentLanguageModel:
    sizes = {"embedding_size": 5, "hidden_size": 6, "num_layers": 2}
    model = RecurrentLanguageModel(
        LanguageModelConfig.model_validate({"vocabulary_size": vocabulary_size} | sizes | options)
    )
    model.initialise(seed=4, initial_range=scale)
    return model.eval()


@pytest.fixture(scope="module")
def letters() -> Vocabulary:
    return train_vocabulary(list(WORDS) * 4, size=20, model_type="char", seed=1)[0]


@pytest.fixture
def loaded(letters: Vocabulary) -> LoadedLanguageModel:
    model = language_model(letters.size, labels=("calm", "wild"))
    return LoadedLanguageModel(Path("nowhere"), model, letters, CARD)


@pytest.mark.parametrize("cell", CELLS)
def test_steps_are_the_sequence(cell: CellName) -> None:
    model = language_model(cell=cell, residual=True).double()
    text = [EOS, 5, 3, 9, 9, 4]
    features, _ = model(torch.tensor([text]))
    expected = torch.log_softmax(model.logits(features)[0], dim=1)
    steps = LanguageModelSteps(model)
    state = steps.begin(1)
    for position, token in enumerate(text):
        found, state = steps.log_probabilities(torch.tensor([token]), state)
        torch.testing.assert_close(found[0], expected[position].detach(), rtol=0, atol=1e-12)


def test_the_probabilities_of_all_texts_have_the_sum_1() -> None:
    """All texts of up to two tokens, and the probability that a text is longer."""
    model = language_model(5, scale=0.7).double()
    others = [token for token in range(5) if token != EOS]
    texts = [list(text) for length in range(3) for text in itertools.product(others, repeat=length)]
    scores = score_texts(model, texts, first_ids=[EOS] * len(texts), eos_id=EOS)
    longer = 0.0
    for pair in itertools.product(others, repeat=2):
        features, _ = model(torch.tensor([[EOS, *pair]]))
        each = torch.log_softmax(model.logits(features)[0], dim=1).detach()
        longer += math.exp(float(each[0, pair[0]] + each[1, pair[1]])) * (1 - math.exp(float(each[2, EOS])))
    assert math.fsum(map(math.exp, scores)) + longer == pytest.approx(1, abs=1e-6)


def test_a_text_has_its_probability_in_any_company() -> None:
    model = language_model().double()
    texts = [[3, 4, 5], [], [6], [7, 7, 7, 7, 7, 7], [3]]
    together = score_texts(model, texts, first_ids=[EOS] * 5, eos_id=EOS)
    alone = [score_texts(model, [text], first_ids=[EOS], eos_id=EOS)[0] for text in texts]
    assert together == pytest.approx(alone, abs=1e-12)


def test_bits_per_character_and_perplexity_are_their_definitions(loaded: LoadedLanguageModel) -> None:
    texts = ["abba", "cab cab", ""]
    found = predict(loaded, texts)
    bits = -math.fsum(log_probabilities(loaded, texts)) / math.log(2)
    assert found.characters == 4 + 7 + 0 + 3
    # One token a character, one for the space that SentencePiece puts before a text, and the ends.
    assert found.tokens == 5 + 8 + 0 + 3
    assert found.bits_per_character == pytest.approx(bits / 14)
    assert found.perplexity == pytest.approx(2 ** (bits / 16))
    assert predict(loaded, ["abxb"]).unknown == 1


def test_a_label_is_what_a_text_begins_with(loaded: LoadedLanguageModel) -> None:
    size = loaded.vocabulary.size
    for label, first in ((None, loaded.vocabulary.eos_id), ("calm", size), ("wild", size + 1)):
        tokens = loaded.vocabulary.encode("abba")
        features, _ = loaded.model(torch.tensor([[first, *tokens]]))
        each = torch.log_softmax(loaded.model.logits(features)[0], dim=1)
        targets = torch.tensor([*tokens, loaded.vocabulary.eos_id])
        expected = each.gather(1, targets[:, None]).sum().item()
        assert log_probabilities(loaded, ["abba"], [label]) == pytest.approx([expected], abs=1e-4)
    with pytest.raises(ValueError, match="the model has no label mild; its labels are: calm, wild"):
        log_probabilities(loaded, ["abba"], ["mild"])


def test_generated_texts_are_as_frequent_as_they_are_probable(letters: Vocabulary) -> None:
    model = language_model(letters.size, labels=("calm",), scale=0.6)
    loaded = LoadedLanguageModel(Path("nowhere"), model, letters, CARD)
    count = 4000
    texts = generate(
        loaded, SearchOptions(method="sample", seed=3, max_length=1), count=count, prefix="ab", label="calm"
    )
    found = Counter(text.text if not text.finished or len(text.text) > 2 else "" for text in texts)
    features, _ = model(torch.tensor([[model.first_id("calm", letters.eos_id), *letters.encode("ab")]]))
    logits = model.logits(features)[0, -1].detach()
    logits[[letters.pad_id, letters.unk_id]] = -torch.inf
    for token, probability in enumerate(torch.softmax(logits, dim=0).tolist()):
        if token == letters.eos_id or probability == 0:
            continue
        share = found[letters.decode([*letters.encode("ab"), token])] / count
        # Four standard deviations of a share.
        assert abs(share - probability) < 4 * math.sqrt(probability * (1 - probability) / count)


def test_a_generated_text_depends_on_its_seed_and_number_alone(loaded: LoadedLanguageModel) -> None:
    def texts(count: int, seed: int = 1, **options: Any) -> list[str]:
        chosen = SearchOptions(method="sample", seed=seed, max_length=12, **options)
        return [text.text for text in generate(loaded, chosen, count=count, prefix="a")]

    assert texts(6)[:3] == texts(3)
    assert texts(6) != texts(6, seed=2)
    assert len(set(texts(6))) > 1
    assert all(text.startswith("a") for text in texts(6))
    greedy = texts(6, top_k=1)
    assert len(set(greedy)) == 1
    assert greedy == texts(6, temperature=1e-3) == texts(6, top_p=1e-6)


def test_a_text_ends_with_its_end_or_at_the_maximum_length(letters: Vocabulary) -> None:
    model = language_model(letters.size)
    with torch.no_grad():
        model.output.bias[letters.eos_id] = -50
    endless = LoadedLanguageModel(Path("nowhere"), model, letters, CARD)
    (text,) = generate(endless, SearchOptions(method="sample", max_length=7), prefix="ab")
    assert not text.finished
    assert len(letters.encode(text.text)) <= len(letters.encode("ab")) + 7
    with torch.no_grad():
        model.output.bias[letters.eos_id] = 50
    (text,) = generate(endless, SearchOptions(method="sample"), prefix="ab")
    assert (text.text, text.finished) == ("ab", True)


@pytest.fixture
def saved(letters: Vocabulary, tmp_path: Path) -> Path:
    path = tmp_path / "lm"
    save_language_model(
        path, model=language_model(letters.size, labels=("calm",), cell="gru"), vocabulary=letters, card=CARD
    )
    return path


def test_a_language_model_comes_back_bit_for_bit(saved: Path, letters: Vocabulary) -> None:
    again = load_language_model(saved)
    expected = language_model(letters.size, labels=("calm",), cell="gru")
    assert again.model.config == expected.config
    assert all(torch.equal(again.model.state_dict()[name], tensor) for name, tensor in expected.state_dict().items())
    assert (again.card.name, again.card.parameters) == ("letters", expected.parameter_count())
    assert "**Not for:** Reading." in (saved / "README.md").read_text(encoding="utf-8")


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocabulary.model", "README.md", "card.json"])
@pytest.mark.parametrize("damage", [_flip, Path.unlink], ids=["altered", "missing"])
def test_damage_to_any_file_is_found_and_the_file_named(saved: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(saved / name)
    with pytest.raises(ModelDirectoryError) as error:
        load_language_model(saved)
    assert str(saved / name) in str(error.value) or str(saved) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_two_kinds_of_directories_are_not_taken_for_each_other(saved: Path, tiny_model_directory: Path) -> None:
    with pytest.raises(ModelDirectoryError, match="is a language model, which does not translate"):
        load_model(saved)
    with pytest.raises(ModelDirectoryError, match="holds no language model"):
        load_language_model(tiny_model_directory)
    with pytest.raises(ModelDirectoryError, match="there is no such directory"):
        load_language_model(saved / "nowhere")


def test_a_newer_format_says_so(saved: Path) -> None:
    document = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    (saved / "config.json").write_text(json.dumps(document | {"format_version": 9}), encoding="utf-8")
    with pytest.raises(ModelDirectoryError, match=r"format version 9.*newer version"):
        load_language_model(saved)


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_fusion_finds_the_best_sum(weight: float) -> None:
    """Against all targets of up to three tokens; a wide beam forgets nothing."""
    model, lm = network(2, scale=1.0), language_model(14, scale=1.0)
    engine = ReferenceEngine(model, source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD])
    fused = FusedEngine(engine, lm, weight)
    sources = [[5, 3], [7]]
    found = search(fused, sources, SearchOptions(beam_size=200, max_length=3), count=1)
    tokens = [token for token in range(14) if token not in (EOS, PAD)]
    targets = [list(t) for length in range(4) for t in itertools.product(tokens, repeat=length)]
    lm_scores = np.array(score_texts(lm, targets, first_ids=[EOS] * len(targets), eos_id=EOS))
    for source, (best,) in zip(sources, found, strict=True):
        own = np.empty(len(targets))
        for length in range(4):
            members = [index for index, target in enumerate(targets) if len(target) == length]
            inputs = torch.tensor([[EOS, *targets[index]] for index in members])
            with torch.inference_mode():
                features = model(torch.tensor([source]).expand(len(members), -1), inputs, EOS)
                each = torch.log_softmax(model.logits(features), dim=2)
            wanted = torch.tensor([[*targets[index], EOS] for index in members])
            own[members] = each.gather(2, wanted.unsqueeze(2)).squeeze(2).sum(1).numpy()
        sums = own + weight * lm_scores
        assert list(best.tokens) == targets[int(sums.argmax())]
        assert best.log_probability == pytest.approx(sums.max(), abs=1e-4)


def test_a_batch_is_fused_as_each_sentence_alone() -> None:
    engine = ReferenceEngine(network(2), source_eos_id=EOS, target_eos_id=EOS, forbidden=[PAD])
    fused = FusedEngine(engine, language_model(14, cell="cudnn-gru"), 0.5)
    sources = [[5, 3], [7], [], [4, 9, 9, 3]]
    options = SearchOptions(beam_size=3, max_length=8)
    together = search(fused, sources, options, count=2)
    alone = [search(fused, [source], options, count=2)[0] for source in sources]
    assert [[h.tokens for h in found] for found in together] == [[h.tokens for h in found] for found in alone]


def test_a_translator_with_a_language_model(tiny_model_directory: Path, saved: Path, tmp_path: Path) -> None:
    translator = Translator.load(tiny_model_directory, engine="reference")
    vocabulary = translator.loaded.target_vocabulary
    path = tmp_path / "french"
    save_language_model(path, model=language_model(vocabulary.size), vocabulary=vocabulary, card=CARD)
    text = "Where is the station? It is raining."
    same = with_language_model(translator, path, 0.0)
    assert same.translate(text) == translator.translate(text)
    fused = with_language_model(translator, path, 0.7)
    assert fused.engine.describe().endswith("; fused with a language model, weight 0.7")
    assert fused.translate(text).score < translator.translate(text).score
    with pytest.raises(ValueError, match="has a vocabulary of"):
        with_language_model(translator, saved, 0.5)
    other = shutil.copytree(path, tmp_path / "other")
    source = translator.loaded.source_vocabulary
    save_language_model(other, model=language_model(source.size), vocabulary=source, card=CARD)
    with pytest.raises(ValueError, match=r"vocabulary"):
        with_language_model(translator, other, 0.5)

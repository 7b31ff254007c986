"""Alignments of translations, and their figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from training.__main__ import main
from training.attention_map import draw_attention_map
from translator import Alignment, SearchOptions, Translator
from translator.directory import load_model, save_model
from translator.engines.native_library import instruction_sets
from translator.model import Seq2Seq

TEXT = "Where is the station? It is raining again this morning."


def attentive(tiny_model_directory: Path, path: Path, **options: Any) -> Path:
    """The tiny model's vocabularies with a network that has attention."""
    tiny = load_model(tiny_model_directory)
    model = Seq2Seq(tiny.config.model_copy(update={"attention": "dot"} | options))
    model.initialise(seed=2, initial_range=0.8)
    save_model(
        path,
        model=model,
        source_vocabulary=tiny.source_vocabulary,
        target_vocabulary=tiny.target_vocabulary,
        card=tiny.card,
    )
    return path


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("reverse_source", [True, False])
def test_an_alignment_is_the_attention_of_the_chosen_hypothesis(
    tiny_model_directory: Path, tmp_path: Path, reverse_source: bool, engine: str
) -> None:
    if engine == "cpu" and not instruction_sets():
        pytest.skip("the cpu engine's library is not built")
    path = attentive(tiny_model_directory, tmp_path / "m", reverse_source=reverse_source)
    translator = Translator.load(path, engine=engine)
    plain = translator.translate(TEXT, SearchOptions(beam_size=3, max_length=9))
    assert [sentence.alignment for sentence in plain.sentences] == [None, None]
    aligned = translator.aligned(plain)
    assert (aligned.text, aligned.score) == (plain.text, plain.score)
    model, vocabularies = (
        translator.loaded.model,
        (translator.loaded.source_vocabulary, translator.loaded.target_vocabulary),
    )
    for sentence in aligned.sentences:
        source = vocabularies[0].encode(sentence.source)
        assert sentence.source_tokens == tuple(source)
        assert vocabularies[1].decode(sentence.target_tokens).split() == sentence.text.split()
        alignment = sentence.alignment
        assert alignment is not None
        assert "".join(alignment.source) == "▁" + sentence.source.replace(" ", "▁") + "</s>"
        assert len(alignment.weights) == len(alignment.target) == len(sentence.target_tokens) + 1
        # By single steps, as the search goes.
        encoded = model.encoder(torch.tensor([source]), vocabularies[0].eos_id)
        state = encoded.state
        for token, row in zip([vocabularies[1].eos_id, *sentence.target_tokens], alignment.weights, strict=True):
            outputs, state = model.decoder.stack(model.decoder.embedding(torch.tensor([[token]])), state)
            scores = (encoded.memory_BSO[0] @ outputs[0, 0]).double().exp().numpy()
            shares = scores / scores.sum()
            read = [*range(len(source))][:: -1 if reverse_source else 1]
            by_source = np.empty(len(source) + 1)
            by_source[[*read, len(source)]] = shares
            np.testing.assert_allclose(row, by_source, atol=1e-5)


def test_without_attention_there_is_nothing_to_align(tiny_model_directory: Path) -> None:
    translator = Translator.load(tiny_model_directory)
    with pytest.raises(ValueError, match="tiny-en-fr: has no attention"):
        translator.aligned(translator.translate(TEXT))


def test_an_attention_map_is_a_figure_and_its_numbers(tiny_model_directory: Path, tmp_path: Path) -> None:
    path = attentive(tiny_model_directory, tmp_path / "m", input_feeding=True, bidirectional=True)
    figure = tmp_path / "map.png"
    sentence = "Where is the station?"
    command = ["attention-map", "--model", str(path), "--figure", str(figure), "--beam-size", "2", sentence]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert figure.read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((tmp_path / "map.json").read_text(encoding="utf-8"))
    assert result.stdout.strip() == numbers["translation"]
    assert numbers["source"][-1] == numbers["target"][-1] == "</s>"
    weights = np.array(numbers["weights"])
    assert weights.shape == (len(numbers["target"]), len(numbers["source"]))
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)


def test_pieces_that_mean_something_to_matplotlib_are_drawn(tmp_path: Path) -> None:
    alignment = Alignment(("▁$", "▁", "</s>"), ("$\\frac$", "</s>"), ((0.5, 0.5, 0.0), (0.0, 0.25, 0.75)))
    draw_attention_map(alignment, tmp_path / "map.svg")
    assert "</svg>" in (tmp_path / "map.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("figure", "model", "message"),
    [
        ("map.gif", "m", "a figure's name ends in .png"),
        ("map.png", "nowhere", "no such model directory"),
        ("map.png", "plain", "has no attention"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_error(
    tiny_model_directory: Path, tmp_path: Path, figure: str, model: str, message: str
) -> None:
    path = tiny_model_directory if model == "plain" else tmp_path / model
    command = ["attention-map", "--model", str(path), "--figure", str(tmp_path / figure), "Where?"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / figure).exists()

"""A translator that a language model of its target side has a say in."""

from __future__ import annotations

from pathlib import Path

from translator.engines import ReferenceEngine, make_engine
from translator.engines.fusion import FusedEngine
from translator.language_model_directory import load_language_model
from translator.pipeline import Translator


def with_language_model(translator: Translator, path: str | Path, weight: float) -> Translator:
    """The same model searched by log p + `weight` · log p_LM, in float32 by the reference engine.

    Raises `ModelDirectoryError` where `path` holds no language model, or another `ValueError` where its vocabulary is
    not the model's target vocabulary.
    """
    if len(translator.members) > 1:
        raise ValueError("a language model has a say in the search of one model, not of an ensemble")
    loaded = translator.loaded
    source_vocabulary, target_vocabulary = loaded.source_vocabulary, loaded.target_vocabulary
    language_model = load_language_model(path, loaded.model.decoder.output.weight.device)
    engine = make_engine(
        loaded.model,
        source_eos_id=source_vocabulary.eos_id,
        target_eos_id=target_vocabulary.eos_id,
        forbidden=(target_vocabulary.pad_id,),
        name="reference",
    )
    assert isinstance(engine, ReferenceEngine)
    fused = FusedEngine(engine, language_model.model, weight)
    if language_model.vocabulary.model_bytes != target_vocabulary.model_bytes:
        raise ValueError(
            f"{path}: has another vocabulary than {loaded.path}/target.model; train it with text.vocabulary set to that"
        )
    return Translator(loaded, engine=fused)

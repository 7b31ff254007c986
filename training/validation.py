"""How good a model is on the development set, measured while it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import chain

import sacrebleu
from rich.console import Console
from rich.progress import track

from training.distributed import World
from training.prepared import Prepared
from training.recipe import Recipe
from translator.card import Score
from translator.config import SearchOptions
from translator.decoder import decode as search_all
from translator.directory import LoadedModel, update_card
from translator.engines import best_engine, make_engine
from translator.model import Seq2Seq
from translator.scoring import score_pairs
from translator.search import Hypothesis, Query
from translator.vocabulary import Vocabulary

_EXAMPLES = 8


@dataclass(frozen=True)
class Validation:
    """Perplexity (per target token, `<EOS>` counted, no label smoothing) and sacreBLEU on dev; `examples` are
    (source, reference, hypothesis)."""

    perplexity: float
    bleu: float
    signature: str
    beam_size: int
    sentences: int
    examples: list[tuple[str, str, str]] = field(default_factory=list)


def validate(model: Seq2Seq, prepared: Prepared, recipe: Recipe, world: World) -> Validation:
    """Measure `model`, in float32 on its own device, dev divided among the processes; they all get the result.

    Training state and random generators are left as they were.
    """
    options = SearchOptions(beam_size=recipe.evaluation.beam_size)
    count = min(recipe.evaluation.bleu_sentences, len(prepared.dev))
    own = range(count)[world.share(count)]
    sources = [prepared.dev.source(index).tolist() for index in own]
    best = decode(model, sources, options, prepared.source_vocabulary, prepared.target_vocabulary, length_penalty=0.0)
    own_texts = [prepared.target_vocabulary.decode(hypothesis.tokens) for hypothesis in best]
    texts = list(chain.from_iterable(world.gather(own_texts)))
    metric = sacrebleu.BLEU()
    bleu = metric.corpus_score(texts, [prepared.dev_target[:count]]).score
    pairs = [(source, prepared.dev.target(index).tolist()) for index, source in zip(own, sources, strict=True)]
    log_probabilities = score_pairs(
        model,
        pairs,
        source_eos_id=prepared.source_vocabulary.eos_id,
        target_eos_id=prepared.target_vocabulary.eos_id,
    )
    log_probability = sum(chain.from_iterable(world.gather(log_probabilities)))
    tokens = int(prepared.dev.target_lengths[:count].sum()) + count
    step = max(1, count // _EXAMPLES)
    return Validation(
        perplexity=math.exp(min(50.0, -log_probability / tokens)),
        bleu=bleu,
        signature=str(metric.get_signature()),
        beam_size=options.beam_size,
        sentences=count,
        examples=[(prepared.dev_source[i], prepared.dev_target[i], texts[i]) for i in range(0, count, step)],
    )


def choose_length_penalty(loaded: LoadedModel, prepared: Prepared, recipe: Recipe, console: Console) -> float:
    """Try the recipe's values of α on dev with the default beam and write the one of best BLEU on the card."""
    sources = [prepared.dev.source(index).tolist() for index in range(len(prepared.dev))]
    options = SearchOptions()
    scores: dict[float, Score] = {}
    tried = recipe.evaluation.length_penalties
    console.print(f"Choosing the best of {len(tried)} length penalties on {len(sources):,} sentences of dev.")
    for length_penalty in track(
        tried, "length penalty", console=console, transient=True, disable=not console.is_terminal
    ):
        best = decode(
            loaded.model,
            sources,
            options,
            loaded.source_vocabulary,
            loaded.target_vocabulary,
            length_penalty=length_penalty,
        )
        metric = sacrebleu.BLEU()
        texts = [loaded.target_vocabulary.decode(hypothesis.tokens) for hypothesis in best]
        scores[length_penalty] = Score(
            test_set=f"{recipe.name} dev",
            metric="BLEU",
            value=metric.corpus_score(texts, [prepared.dev_target]).score,
            signature=str(metric.get_signature()),
            beam_size=options.beam_size,
            length_penalty=length_penalty,
            sentences=len(sources),
        )
    chosen = max(scores, key=lambda length_penalty: scores[length_penalty].value)
    update_card(loaded.path, loaded.card.model_copy(update={"length_penalty": chosen, "scores": [scores[chosen]]}))
    return chosen


def decode(
    model: Seq2Seq,
    sources: list[list[int]],
    options: SearchOptions,
    source_vocabulary: Vocabulary,
    target_vocabulary: Vocabulary,
    *,
    length_penalty: float,
) -> list[Hypothesis]:
    """The best hypothesis for each source, in float32."""
    engine = make_engine(
        model,
        source_eos_id=source_vocabulary.eos_id,
        target_eos_id=target_vocabulary.eos_id,
        forbidden=[target_vocabulary.pad_id],
        name=best_engine(model.decoder.output.weight.device.type, full_precision=True, config=model.config),
    )
    # Sentences of like length are read together.
    order = sorted(range(len(sources)), key=lambda index: -len(sources[index]))
    queries = [Query(tuple(sources[index]), options, length_penalty) for index in order]
    best = {index: found[0] for index, found in zip(order, search_all(engine, queries), strict=True)}
    return [best[index] for index in range(len(sources))]

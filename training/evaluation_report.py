"""How good a translator, or another system's output, is on a test set: the figures, and how sure they are.

Each line is translated as one sentence, as the reference has it.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from training.measures import (
    Measured,
    RankScore,
    bleu_by_length,
    bleu_by_rank,
    empty_rate,
    length_ratio,
    measure,
    repetition_rate,
    tokenised_bleu,
    worst,
)
from training.parallel_text import ParallelText
from translator.card import Card, LengthScore, Score
from translator.config import SearchOptions
from translator.pipeline import Translator
from translator.scoring import as_source, score_texts
from translator.vocabulary import Vocabulary

_SAMPLES = 5


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Sample(_Part):
    """One sentence of the test set to read."""

    source: str
    reference: str
    translation: str


class Interval(_Part):
    """Where 95 % of a metric's values on resampled test sets lie (`training.measures.Measured`)."""

    low: float
    high: float


class UnknownRates(_Part):
    """The share of tokens that are `<unk>`, by the model's vocabularies; 0 where they fall back on bytes."""

    source: float
    reference: float
    translation: float


class EvaluationReport(_Part):
    """All that `python -m training evaluate` found about one system, as its --json has it."""

    model: str = Field(description="Name of the model, from its card, or of the file with the translations.")
    weights_sha256: str = Field(description="Checksum of the weights that were measured; an ensemble's with commas.")
    engine: str = Field(default="", description="How the translation was computed; empty for a file.")
    sentences: int
    bleu: Score
    chrf: Score
    ter: Score = Field(description="Translation edit rate: the lower, the better.")
    multi_bleu: Score = Field(description="Tokenised BLEU as Moses's multi-bleu.perl has it, the paper's metric.")
    confidence: dict[str, Interval] = Field(description="Of BLEU, chrF and TER, by bootstrap resampling.")
    resamples: int
    perplexity: Score | None = Field(
        description="exp(−mean log p of a reference token), `<EOS>` counted, natural logarithm; none for a file."
    )
    length_ratio: float = Field(description="Words of the translations ÷ words of the references, as BLEU counts them.")
    repetition_rate: float = Field(description="Share of translations with a phrase twice in a row.")
    reference_repetition_rate: float
    empty_rate: float = Field(description="Share of translations without text whose source has some.")
    unknown: UnknownRates | None
    seconds: float | None = Field(description="Wall-clock time of the translation alone.")
    sentences_per_second: float | None
    bleu_by_length: list[LengthScore]
    bleu_by_rank: list[RankScore] = Field(description="Ranks of source words by frequency, 1 the most frequent.")
    warnings: dict[str, int] = Field(description="Sentences with a warning, by its code: long, split, truncated …")
    samples: list[Sample] = Field(description="Every n-th sentence.")
    worst: list[Sample] = Field(description="The sentences of lowest chrF.")


@dataclass(frozen=True)
class SystemOutput:
    """What a system made of the sources. `translator` and `seconds` are None where it comes out of a file."""

    name: str
    texts: list[str]
    translator: Translator | None = None
    options: SearchOptions = field(default_factory=SearchOptions)
    seconds: float | None = None
    warnings: dict[str, int] = field(default_factory=dict)


def translate_text(
    translator: Translator,
    sources: Sequence[str],
    *,
    options: SearchOptions,
    name: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> SystemOutput:
    """Translate `sources`, each as one sentence, and take the time. The name is the card's where none is given."""
    start = time.perf_counter()
    translations = translator.translate(sources, options, split_sentences=False, progress=progress)
    seconds = time.perf_counter() - start
    codes = ({warning.partition(":")[0] for warning in translation.warnings} for translation in translations)
    warnings = Counter(code for each in codes for code in each)
    texts = [translation.text for translation in translations]
    return SystemOutput(name or translator.card.name, texts, translator, options, seconds, dict(warnings))


def evaluate_translator(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str],
    *,
    test_set: str,
    options: SearchOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> EvaluationReport:
    """Translate `sources`, each as one sentence, and compare with `references`, one for each of them.

    `progress` is called with the number of sentences translated since its last call. Raises `InputError` where there is
    no sentence, or not one reference for each source.
    """
    text = ParallelText(test_set, list(sources), list(references))
    output = translate_text(translator, text.sources, options=options or SearchOptions(), progress=progress)
    (measured,) = measure([output.texts], text.references)
    return report_of(output, text, measured)


def report_of(
    output: SystemOutput,
    text: ParallelText,
    measured: dict[str, Measured],
    *,
    target_language: str | None = None,
    frequency_text: Sequence[str] | None = None,
) -> EvaluationReport:
    """The report on one system, whose metrics are measured already.

    `target_language` (the translator's, if not given) is what the text is tokenised as for multi-bleu;
    `frequency_text` is what words are counted in for BLEU by frequency rank (the sources, if not given).
    """
    translator = output.translator
    language = target_language or (translator.card.target_language if translator else "en")
    multi_bleu, tokenisation = tokenised_bleu(output.texts, text.references, language)
    seconds = output.seconds

    def score(name: str, value: float, signature: str) -> Score:
        settings = {}
        if translator is not None:
            penalty = output.options.length_penalty
            settings = {
                "beam_size": output.options.beam_size,
                "length_penalty": translator.card.length_penalty if penalty is None else penalty,
                "precision": translator.engine.precision,
            }
        return Score.model_validate(
            {
                "test_set": text.name,
                "metric": name,
                "value": round(value, 4),
                "signature": signature,
                "sentences": len(text.sources),
                **settings,
            }
        )

    def samples(numbers: Sequence[int]) -> list[Sample]:
        return [
            Sample(source=text.sources[index], reference=text.references[index], translation=output.texts[index])
            for index in numbers
        ]

    bleu, chrf, ter = (score(name, each.value, each.signature) for name, each in measured.items())
    return EvaluationReport(
        model=output.name,
        weights_sha256=_weights(translator),
        engine=translator.engine.describe() if translator else "",
        sentences=len(text.sources),
        bleu=bleu,
        chrf=chrf,
        ter=ter,
        multi_bleu=score("multi-bleu", multi_bleu, tokenisation),
        confidence={
            name: Interval(low=round(each.low, 4), high=round(each.high, 4)) for name, each in measured.items()
        },
        resamples=measured["BLEU"].resamples,
        perplexity=_perplexity(translator, text) if translator else None,
        length_ratio=round(length_ratio(output.texts, text.references), 4),
        repetition_rate=round(repetition_rate(output.texts), 4),
        reference_repetition_rate=round(repetition_rate(text.references), 4),
        empty_rate=round(empty_rate(text.sources, output.texts), 4),
        unknown=_unknown_rates(translator, text, output.texts) if translator else None,
        seconds=None if seconds is None else round(seconds, 3),
        sentences_per_second=None if seconds is None else round(len(text.sources) / seconds, 2),
        bleu_by_length=bleu_by_length(text.sources, output.texts, text.references),
        bleu_by_rank=bleu_by_rank(text.sources, output.texts, text.references, frequency_text=frequency_text),
        warnings=output.warnings,
        samples=samples(range(0, len(text.sources), math.ceil(len(text.sources) / _SAMPLES))),
        worst=samples(worst(output.texts, text.references, _SAMPLES)),
    )


def scored_card(card: Card, report: EvaluationReport) -> Card:
    """`card` with the report's scores in front. Older ones of this test set go, unless they were computed in another
    number format; those of other test sets stay.
    """
    fresh = [report.bleu, report.chrf, *([] if report.perplexity is None else [report.perplexity])]
    measured = {(score.test_set, score.metric, score.precision) for score in fresh}
    replaced = measured | {(test_set, metric, "") for test_set, metric, _ in measured}
    others = [score for score in card.scores if (score.test_set, score.metric, score.precision) not in replaced]
    scores = [*fresh, *others]
    return card.model_copy(update={"scores": scores, "bleu_by_length": report.bleu_by_length})


def _weights(translator: Translator | None) -> str:
    files = [member.card.files.get("model.safetensors") for member in translator.members] if translator else []
    return ",".join(file.sha256 for file in files if file is not None)


def _perplexity(translator: Translator, text: ParallelText) -> Score:
    """exp of the mean negative log-probability of a reference token, `<EOS>` counted, by teacher forcing."""
    scores = score_texts(translator, list(zip(text.sources, text.references, strict=True)))
    tokens = sum(len(score.pieces) for score in scores)
    log_probability = math.fsum(score.log_probability for score in scores)
    return Score(
        test_set=text.name,
        metric="perplexity",
        value=round(math.exp(min(700.0, -log_probability / tokens)), 4),
        signature=f"tokens:{tokens}|vocabulary:{translator.loaded.target_vocabulary.size}|eos:yes",
        sentences=len(text.sources),
        precision="float32",
    )


def _unknown_rates(translator: Translator, text: ParallelText, translations: Sequence[str]) -> UnknownRates:
    loaded = translator.loaded
    return UnknownRates(
        source=_unknown_rate(loaded.source_vocabulary, [as_source(source) for source in text.sources]),
        reference=_unknown_rate(loaded.target_vocabulary, text.references),
        translation=_unknown_rate(loaded.target_vocabulary, translations),
    )


def _unknown_rate(vocabulary: Vocabulary, texts: Sequence[str]) -> float:
    tokens = vocabulary.encode_batch(texts)
    unknown = sum(each.count(vocabulary.unk_id) for each in tokens)
    return round(unknown / max(1, sum(map(len, tokens))), 6)

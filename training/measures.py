"""What is measured on translated text alone, whoever translated it.

BLEU, chrF (both cased) and TER are sacreBLEU's, on plain text, and never stored without their signatures: the paper's
authors note that variants of BLEU differ by more than a point (37.0 and 35.8 for one output).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import sacrebleu
import sacremoses
from pydantic import BaseModel, ConfigDict
from sacrebleu.metrics.base import Metric
from sacrebleu.significance import PairedTest
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from translator.card import LengthScore

# The last words of each class; the paper's Figure 3 (left) goes up to 79 words, everyday corpora have few beyond 30.
_LAST_WORDS = (5, 10, 15, 20, 30, 50)
_RANK_CLASSES = 5
_RESAMPLES = 1_000
# sacreBLEU holds the statistics of every resampled sentence at once, up to 72 bytes for each.
_RESAMPLED_SENTENCES = 30_000_000
_FEWEST_RESAMPLES = 100
_LONGEST_PHRASE = 4
_TOKENISER = Tokenizer13a()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Measured:
    """A metric of one system: its value, and where 95 % of its values on resampled test sets lie.

    That is sacreBLEU's interval: their mean, and half the width of their middle 95 % to either side of it. It is cut
    where the metric ends, which small test sets reach.

    `p_value` is two-sided, of the difference to the first system; None for the first itself.
    """

    value: float
    signature: str
    low: float
    high: float
    p_value: float | None
    resamples: int


class RankScore(BaseModel):
    """BLEU over the sentences whose source words have an average frequency rank from `minimum` to `maximum`."""

    model_config = ConfigDict(frozen=True)

    minimum: float
    maximum: float
    sentences: int
    bleu: float


def measure(systems: Sequence[Sequence[str]], references: Sequence[str]) -> list[dict[str, Measured]]:
    """BLEU, chrF and TER of each system's translations, with paired bootstrap resampling (Koehn 2004).

    The first system is the one that the others are compared with. All resampled test sets are the same for all.
    """
    resamples = max(_FEWEST_RESAMPLES, min(_RESAMPLES, _RESAMPLED_SENTENCES // len(references)))
    metrics: dict[str, Metric] = {"BLEU": sacrebleu.BLEU(), "chrF": sacrebleu.CHRF(), "TER": sacrebleu.TER()}
    named: list[tuple[str, Sequence[str]]] = [(str(number), list(texts)) for number, texts in enumerate(systems)]
    test = PairedTest(named, metrics, [list(references)], test_type="bs", n_samples=resamples)
    _, found = test()
    measured: list[dict[str, Measured]] = [{} for _ in systems]
    for key, (name, metric) in zip([key for key in found if key != "System"], metrics.items(), strict=True):
        signature = str(metric.get_signature())
        for number, result in enumerate(found[key]):
            assert not isinstance(result, str)
            assert result.mean is not None
            assert result.ci is not None
            p_value = None
            if number > 0:
                assert result.p_value is not None
                first = found[key][0]
                assert not isinstance(first, str)
                # sacreBLEU's is the share of resamples that are as far off in one direction; which system would be
                # the better one was not known beforehand, so that both directions count.
                p_value = 1.0 if result.score == first.score else min(1.0, 2 * result.p_value)
            low, high = max(0.0, result.mean - result.ci), result.mean + result.ci
            if name != "TER":  # which has no largest value
                high = min(100.0, high)
            measured[number][name] = Measured(result.score, signature, low, high, p_value, resamples)
    return measured


def length_ratio(translations: Sequence[str], references: Sequence[str]) -> float:
    """Words of the translations ÷ words of the references, as BLEU counts them."""
    found = sacrebleu.BLEU().corpus_score(translations, [references])
    return float(found.sys_len / max(1, found.ref_len))


def tokenised_bleu(translations: Sequence[str], references: Sequence[str], language: str) -> tuple[float, str]:
    """What Moses's multi-bleu.perl says, the paper's metric (its section 3.6), and how the text was tokenised.

    Cased, unsmoothed, on Moses's tokens. Never to be compared with sacreBLEU's BLEU, which tokenises otherwise.
    """
    tokeniser = sacremoses.MosesTokenizer(lang=language)
    tokens, wanted = (
        [tokeniser.tokenize(text, return_str=True, escape=False) for text in texts]
        for texts in (translations, references)
    )
    bleu = sacrebleu.BLEU(tokenize="none", smooth_method="none", force=True)
    signature = f"multi-bleu|case:mixed|tok:moses-{language}|smooth:none|sacremoses:{sacremoses.__version__}"
    return bleu.corpus_score(tokens, [wanted]).score, signature


def bleu_by_length(sources: Sequence[str], translations: Sequence[str], references: Sequence[str]) -> list[LengthScore]:
    """Corpus BLEU of the sentences of each class of source length, in words; a class without sentences is left out."""
    scores = []
    first = 0
    for last in (*_LAST_WORDS, None):
        members = [
            index
            for index, source in enumerate(sources)
            if first <= len(source.split()) and (last is None or len(source.split()) <= last)
        ]
        if members:
            bleu = round(_bleu_of(members, translations, references), 4)
            scores.append(LengthScore(minimum=first, maximum=last, sentences=len(members), bleu=bleu))
        first = 0 if last is None else last + 1
    return scores


def bleu_by_rank(
    sources: Sequence[str],
    translations: Sequence[str],
    references: Sequence[str],
    *,
    frequency_text: Iterable[str] | None = None,
) -> list[RankScore]:
    """Corpus BLEU of five classes of as many sentences each, by the average frequency rank of their source words.

    As in the paper's Figure 3 (right). The most frequent word of `frequency_text` (the sources, if not given) has
    rank 1; words that are equally frequent share the mean of their ranks, and unseen words the rank after the last.
    """
    averages = np.array(average_ranks(sources, sources if frequency_text is None else frequency_text))
    order = np.argsort(averages, kind="stable")
    return [
        RankScore(
            minimum=round(float(averages[members[0]]), 2),
            maximum=round(float(averages[members[-1]]), 2),
            sentences=len(members),
            bleu=round(_bleu_of(members.tolist(), translations, references), 4),
        )
        for members in np.array_split(order, _RANK_CLASSES)
        if len(members)
    ]


def average_ranks(sources: Sequence[str], frequency_text: Iterable[str]) -> list[float]:
    """The average frequency rank of each source's words; see `bleu_by_rank`."""
    ranks = _frequency_ranks(map(words, frequency_text))
    return [_average_rank(words(source), ranks) for source in sources]


def repetition_rate(texts: Sequence[str]) -> float:
    """The share of texts in which a phrase of one to four words stands twice in a row ("of the of the").

    Good text has some, too: set the references' beside it.
    """
    return sum(map(_repeats, texts)) / len(texts)


def empty_rate(sources: Sequence[str], translations: Sequence[str]) -> float:
    """The share of translations without any text whose source has some."""
    empty = [bool(source.strip()) and not text.strip() for source, text in zip(sources, translations, strict=True)]
    return sum(empty) / len(empty)


def worst(translations: Sequence[str], references: Sequence[str], count: int) -> list[int]:
    """The numbers of the `count` sentences of lowest chrF, the lowest first."""
    chrf = sacrebleu.CHRF()
    scores = [
        chrf.sentence_score(text, [reference]).score for text, reference in zip(translations, references, strict=True)
    ]
    return sorted(range(len(scores)), key=lambda index: scores[index])[:count]


def _bleu_of(members: Sequence[int], translations: Sequence[str], references: Sequence[str]) -> float:
    found = sacrebleu.BLEU().corpus_score(
        [translations[index] for index in members], [[references[index] for index in members]]
    )
    return float(found.score)


def words(text: str) -> list[str]:
    """The words and punctuation marks that BLEU (13a) sees."""
    return str(_TOKENISER(text)).split()


def _frequency_ranks(sentences: Iterable[Sequence[str]]) -> dict[str, float]:
    counts = Counter(word for sentence in sentences for word in sentence)
    words_of_count = Counter(counts.values())
    rank_of_count: dict[int, float] = {}
    before = 0
    for count in sorted(words_of_count, reverse=True):
        rank_of_count[count] = before + (words_of_count[count] + 1) / 2
        before += words_of_count[count]
    return {word: rank_of_count[count] for word, count in counts.items()}


def _average_rank(words: Sequence[str], ranks: dict[str, float]) -> float:
    return sum(ranks.get(word, len(ranks) + 1) for word in words) / max(1, len(words))


def _repeats(text: str) -> bool:
    words = re.findall(r"\w+", text.lower())
    return any(
        words[start : start + length] == words[start + length : start + 2 * length]
        for length in range(1, _LONGEST_PHRASE + 1)
        for start in range(len(words) - 2 * length + 1)
    )

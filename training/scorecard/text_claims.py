"""Rows about the test set's text: rescoring, metrics, length, rarity, and the sentence vectors."""

from __future__ import annotations

import numpy as np

from training.measures import average_ranks, tokenised_bleu, words
from training.rescoring import EVEN, choose, oracle
from training.scorecard.measuring import BEAMS
from training.scorecard.resampling import Bootstrap, Estimate, mean
from training.scorecard.results import Results, by_thirds
from training.scorecard.rows import Row, fact, measured, not_tested
from training.sentence_space import neighbours_of_one_group, voice_and_order

_WIDEST = max(BEAMS)
_MINOR_DROP = 0.1
_DIFFERENT_BLEU = 0.1
_CHANCE_NEIGHBOURS = 0.4  # of a phrase's five others, two are of its own group


def text_claims(results: Results, language: str) -> list[Row]:
    """P28 to P37; `language` is that of the target."""
    return [
        *_rescoring(results),
        _metric(results, language),
        _unknown_words(results),
        *_vectors(results),
        _length(results),
        _rarity(results),
        not_tested(
            "P37",
            "Table 3: long sample translations",
            "three samples",
            "a matter for readers: the samples stand below the table",
        ),
    ]


def _rescoring(results: Results) -> list[Row]:
    rescored = results.rescored
    candidates, references = rescored.candidates(), results.text.references
    baseline = results.text_bleu([each[0].text for each in candidates])
    systems = {
        name: results.text_bleu(choose(candidates, rescored.model_scores(name), EVEN)) for name in rescored.by_system
    }
    best = results.text_bleu(oracle(candidates, references))
    count = results.budget.n_best
    figures = ", ".join(f"{name} {bleu.value:.2f}" for name, bleu in systems.items())
    effect = systems["ensemble"] - baseline
    rule = measured(
        "P29",
        "the rule: the even average of the baseline's score and log p",
        "weights ½ and ½",
        f"with the even average {systems['ensemble'].value:.2f}, with the ensemble's log p alone "
        f"{results.text_bleu(choose(candidates, rescored.model_scores('ensemble'), 1.0)).value:.2f}",
        effect,
        name="BLEU of the even average over the baseline",
    )
    return [
        measured(
            "P28",
            "Table 2: rescoring a baseline's n-best list helps",
            "33.30 → forward 35.61, reversed 35.85, 5 reversed 36.5; oracle about 45",
            f"the {count} best of a forward LSTM of depth {min(results.budget.depths)} in the place of the "
            f"phrase-based system's 1000: {baseline.value:.2f} → {figures}; oracle {best.value:.2f}",
            effect,
            name="BLEU of the ensemble over the baseline",
        ),
        rule,
        measured(
            "P30",
            "the oracle of an n-best list is far above its first",
            "33.30 and about 45",
            f"{baseline.value:.2f} and {best.value:.2f}",
            best - baseline,
            name="BLEU of the oracle over the baseline",
        ),
    ]


def _metric(results: Results, language: str) -> Row:
    member = results.all_members(results.best)[0]
    texts = results.singles[member].beams[_WIDEST].texts
    tokenised, signature = tokenised_bleu(texts, results.text.references, language)
    sacre = results.text_bleu(texts).value
    return fact(
        "P31",
        "variants of BLEU differ on one output",
        "37.0 and 35.8 (multi-bleu.pl, cased, tokenised, and another)",
        f"multi-bleu {tokenised:.2f} ({signature}), sacreBLEU {sacre:.2f}, for one output",
        holds=abs(tokenised - sacre) >= _DIFFERENT_BLEU,
    )


def _unknown_words(results: Results) -> Row:
    known = {word for line in results.frequency_text for word in words(line)}
    is_unknown = [[word not in known for word in words(source)] for source in results.text.sources]
    rare = np.array([any(each) for each in is_unknown], dtype=np.bool_)
    members = results.all_members(results.best)
    share = sum(map(sum, is_unknown)) / max(1, sum(map(len, is_unknown)))
    ours = f"{share:.1%} of the source's words are not in the training text"
    if rare.any() and not rare.all():
        groups = [results.mean_bleu(members, _WIDEST, np.flatnonzero(each)).value for each in (rare, ~rare)]
        ours += (
            f"; BLEU {groups[0]:.2f} of the {int(rare.sum())} sentences that have one, {groups[1]:.2f} of the others"
        )
    return not_tested(
        "P32",
        "words outside the vocabulary cost BLEU",
        "no figure",
        "with subwords there are no unknown words",
        ours=ours,
    )


def _vectors(results: Results) -> list[Row]:
    clusters = ("P33", "Figure 2: h(x) of phrases clusters by meaning and word order", "a picture")
    voice = ("P34", "h(x) is sensitive to word order, and little to active or passive voice", "a picture")
    phrases = results.phrases
    if phrases is None:
        return [not_tested(*row, "there are phrases in English and German alone") for row in (clusters, voice)]
    by_seed = [
        [hit for panel in phrases.panels for hit in neighbours_of_one_group(panel, vectors)]
        for vectors in results.vectors.values()
    ]
    shares = np.array(by_seed, dtype=np.float64)
    distances = [voice_and_order(phrases, vectors) for vectors in results.vectors.values()]
    gaps = np.array([each.order - each.voice for each in distances])
    nearer = np.mean([each.voice < each.misled for each in distances])
    return [
        measured(
            *clusters,
            f"the nearest neighbour of {int(shares.sum())} of {shares.size} phrases (cosine, {len(shares)} seeds) "
            f"is of their own meaning; by chance {_CHANCE_NEIGHBOURS:.0%}",
            _mean_over_columns(shares),
            name="share of such neighbours",
            by_seed=shares.mean(axis=1).tolist(),
            threshold=_CHANCE_NEIGHBOURS,
            form=".2f",
        ),
        measured(
            *voice,
            f"cosine distance {np.mean([each.order for each in distances]):.3f} to the sentence with roles exchanged, "
            f"{np.mean([each.voice for each in distances]):.3f} to its passive; {nearer:.0%} of the passives are "
            "nearer to their own active than to the other",
            _mean_over_columns(gaps),
            name="gap of cosines",
            by_seed=gaps.mean(axis=1).tolist(),
            form="+.3f",
        ),
    ]


def _mean_over_columns(values_SP: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Estimate:
    """The mean over phrases of the means over seeds, with the phrases resampled."""
    means_P = values_SP.mean(axis=0)
    return Bootstrap(len(means_P)).ratio(means_P, np.ones_like(means_P))


def _length(results: Results) -> Row:
    lengths = [len(source.split()) for source in results.text.sources]
    short, middle, long = by_thirds(lengths)
    rest = np.sort(np.concatenate([short, middle]))
    members = results.all_members(results.best)
    whole, on_rest, on_long = (results.mean_bleu(members, _WIDEST, each) for each in (None, rest, long))
    drop = (on_rest - on_long) / whole
    by_seed = [
        (results.bleu(member, _WIDEST, rest).value - results.bleu(member, _WIDEST, long).value)
        / max(1e-9, results.bleu(member, _WIDEST).value)
        for member in members
    ]
    # That BLEU does not fall by more than a tenth is the claim, so the sign is turned.
    return measured(
        "P35",
        "Figure 3, left: no fall of BLEU with length",
        "flat below 35 words, a minor drop on the longest",
        f"{on_long.value:.2f} on the third of longest sentences ({min(lengths[index] for index in long)} to "
        f"{max(lengths)} words), {on_rest.value:.2f} on the others",
        drop.map(lambda share: -share),
        name="change on the longest third, as a share of BLEU",
        by_seed=[-each for each in by_seed],
        threshold=-_MINOR_DROP,
    )


def _rarity(results: Results) -> Row:
    ranks = average_ranks(results.text.sources, results.frequency_text)
    frequent, _, rare = by_thirds(ranks)
    members = results.all_members(results.best)
    gaps = [results.bleu(each, _WIDEST, frequent) - results.bleu(each, _WIDEST, rare) for each in members]
    return measured(
        "P36",
        "Figure 3, right: BLEU falls with rarer words",
        "a falling curve",
        f"{results.mean_bleu(members, _WIDEST, frequent).value:.2f} on the third of most frequent words, "
        f"{results.mean_bleu(members, _WIDEST, rare).value:.2f} on the rarest (average rank in the training text)",
        mean(gaps),
        name="BLEU of frequent over rare",
        by_seed=[each.value for each in gaps],
    )

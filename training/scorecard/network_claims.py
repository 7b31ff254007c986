"""Rows about depth, beam and ensembles."""

from __future__ import annotations

import numpy as np

from training.scorecard.measuring import BEAMS
from training.scorecard.resampling import mean
from training.scorecard.results import Configuration, Results
from training.scorecard.rows import Row, fact, measured, not_tested

_WIDEST = max(BEAMS)
_SMALL_LOSS = 0.1
_MOST_OF_IT = 0.5


def network_claims(results: Results) -> list[Row]:
    """P12, P24, P26 and P27."""
    return [_depth(results), _beam(results), _ensembles(results), _cost(results)]


def _depth(results: Results) -> Row:
    depths = results.budget.depths
    claim, paper = "each further layer cuts the perplexity", "by nearly 10 %"
    if len(depths) < 2:
        return not_tested("P12", claim, paper, "the grid has one depth")
    logs = [
        [results.log_perplexity(member) for member in results.members(Configuration("lstm", True, depth))]
        for depth in depths
    ]
    layers = depths[-1] - depths[0]
    cuts = [
        (deep - shallow).map(lambda nats: 1 - np.exp(nats / layers))
        for shallow, deep in zip(logs[0], logs[-1], strict=True)
    ]
    perplexities = [mean(each).map(np.exp).value for each in logs]
    row = measured(
        "P12",
        claim,
        paper,
        "reversed, depth "
        + ", ".join(f"{depth}: {each:.2f}" for depth, each in zip(depths, perplexities, strict=True)),
        mean(cuts).map(lambda share: 100 * share),
        name="% less perplexity a layer",
        by_seed=[100 * each.value for each in cuts],
        form="+.1f",
    )
    if row.verdict == "holds" and sorted(perplexities, reverse=True) != perplexities:
        return row.model_copy(update={"verdict": "undecided", "reason": "not every layer does"})
    return row


def _beam(results: Results) -> Row:
    members = results.all_members(results.best)
    one, two, widest = (results.mean_bleu(members, beam) for beam in BEAMS)
    ours = f"mean of {len(members)} seeds: " + ", ".join(
        f"beam {beam} {each.value:.2f}" for beam, each in zip(BEAMS, (one, two, widest), strict=True)
    )
    gain = widest - one
    claim = f"beam 1 works well, beam 2 has most of what beam {_WIDEST} gains"
    paper = "5 LSTMs: 33.00, 34.50, 34.81, so that beam 2 has 83 % of it"
    row = measured("P24", claim, paper, ours, gain, name=f"BLEU of beam {_WIDEST} over beam 1")
    if row.verdict != "holds":
        lost = "loses" if row.verdict == "does not hold" else "gains nothing that is certain"
        return row.model_copy(update={"reason": f"beam {_WIDEST} {lost}"})
    share = (two - one) / gain
    row = measured(
        "P24", claim, paper, ours, share, name="share of the gain that beam 2 has", threshold=_MOST_OF_IT, form=".2f"
    )
    loss = (gain / widest).value
    if row.verdict == "holds" and loss > _SMALL_LOSS:
        reason = f"beam 1 loses {loss:.0%}"
        return row.model_copy(update={"verdict": "undecided", "reason": reason})
    return row


def _ensembles(results: Results) -> Row:
    best = results.all_members(results.best)
    forward = results.mean_bleu(results.members(results.best.other_direction()), _WIDEST).value
    sizes = sorted(results.ensembles)
    largest = sizes[-1]
    singles = [results.bleu(member, _WIDEST) for member in best[:largest]]
    figures = [f"single forward, beam {_WIDEST}: {forward:.2f}", f"single reversed: {mean(singles).value:.2f}"]
    figures += [
        f"{size} reversed, beam {beam}: {results.ensemble_bleu(size, beam).value:.2f}"
        for size in sizes
        for beam in BEAMS
        if size == largest or beam == _WIDEST
    ]
    return measured(
        "P26",
        "Table 1: ensembles help (its values need WMT'14)",
        "26.17; 30.59; of 5, beam 1 33.00; of 2, beam 12 33.27; of 5, beam 2 34.50, beam 12 34.81; "
        "phrase-based 33.30; Bahdanau et al. 28.45",
        "; ".join(figures),
        results.ensemble_bleu(largest, _WIDEST) - mean(singles),
        name=f"BLEU of {largest} over the mean of its members",
    )


def _cost(results: Results) -> Row:
    largest = max(results.ensembles)
    ensemble = results.ensembles[largest].beams[2].seconds
    singles = [results.singles[member].beams[_WIDEST].seconds for member in results.all_members(results.best)]
    single = sum(singles) / len(singles)
    return fact(
        "P27",
        f"{largest} LSTMs with beam 2 cost less than one with beam {_WIDEST}",
        "Table 1's caption",
        f"{ensemble:.1f} s against {single:.1f} s for {len(results.text.sources):,} sentences, "
        f"{2 * largest} against {_WIDEST} hypotheses a step",
        holds=ensemble < single,
    ).model_copy(update={"reason": "time of one run each"})

"""Rows that compare networks: direction, depth, cell, beam, ensemble."""

from __future__ import annotations

import numpy as np

from training.scorecard.measuring import BEAMS
from training.scorecard.resampling import Estimate, mean
from training.scorecard.results import Configuration, Results, by_thirds
from training.scorecard.rows import Row, fact, measured, not_tested

_WIDEST = max(BEAMS)
_SMALL_LOSS = 0.1
_MOST_OF_IT = 0.5
_PARTS = ("first", "middle", "last")


def network_claims(results: Results) -> list[Row]:
    """P9, P11, P12, P24, P26, P27, P38 and P39."""
    return [
        _reversal(results),
        _long_sentences(results),
        _depth(results),
        _beam(results),
        _ensembles(results),
        _cost(results),
        _simpler_cells(results),
        _positions(results),
    ]


def _difference(
    results: Results, better: Configuration, other: Configuration, beam: int
) -> tuple[Estimate, list[float]]:
    """How much higher the BLEU of `better` is, on average over the seeds, and seed by seed."""
    pairs = zip(results.members(better), results.members(other), strict=True)
    differences = [results.bleu(mine, beam) - results.bleu(yours, beam) for mine, yours in pairs]
    return mean(differences), [each.value for each in differences]


def _reversal(results: Results) -> Row:
    best, forward = results.best, results.best.other_direction()
    effect, by_seed = _difference(results, best, forward, _WIDEST)
    bleu = [results.mean_bleu(results.members(each), _WIDEST).value for each in (forward, best)]
    perplexity = [results.mean_perplexity(results.members(each)).value for each in (forward, best)]
    others = []
    for depth in results.budget.depths:
        if depth != best.depth:
            reverses = Configuration("lstm", True, depth)
            gain, _ = _difference(results, reverses, reverses.other_direction(), _WIDEST)
            low, high = gain.interval
            others.append(f"depth {depth}: {gain.value:+.2f} ({low:+.2f} to {high:+.2f})")
    return measured(
        "P9",
        "reversing the source helps",
        "perplexity 5.8 → 4.7, BLEU 25.9 → 30.6 (26.17 → 30.59 in Table 1)",
        f"depth {best.depth}: perplexity {perplexity[0]:.2f} → {perplexity[1]:.2f}, BLEU {bleu[0]:.2f} → {bleu[1]:.2f}"
        + (f"; BLEU gained at {', '.join(others)}" if others else ""),
        effect,
        name=f"BLEU at depth {best.depth}",
        by_seed=by_seed,
    )


def _long_sentences(results: Results) -> Row:
    short, _, long = by_thirds([len(source.split()) for source in results.text.sources])
    gains = []
    for sentences in (short, long):
        pairs = zip(results.members(results.best), results.members(results.best.other_direction()), strict=True)
        gains.append(
            [results.bleu(mine, _WIDEST, sentences) - results.bleu(yours, _WIDEST, sentences) for mine, yours in pairs]
        )
    on_short, on_long = mean(gains[0]), mean(gains[1])
    longest = len(
        results.text.sources[int(max(long, key=lambda index: len(results.text.sources[index].split())))].split()
    )
    fewest = min(len(results.text.sources[int(index)].split()) for index in long)
    return measured(
        "P11",
        "reversed models do better on long sentences",
        "much better; no figure",
        f"BLEU gained by reversal: {on_long.value:+.2f} on the third of longest sentences ({fewest} to {longest} "
        f"words), {on_short.value:+.2f} on the shortest third",
        on_long,
        name="BLEU on long sentences",
        by_seed=[each.value for each in gains[1]],
    )


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
    low, _ = gain.interval
    if low <= 0:
        row = measured("P24", claim, paper, ours, gain, name=f"BLEU of beam {_WIDEST} over beam 1")
        return row.model_copy(
            update={"verdict": "undecided", "reason": f"beam {_WIDEST} gains nothing that is certain"}
        )
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
    )


def _simpler_cells(results: Results) -> Row:
    """Section 5: not verified by the authors."""
    depth = min(results.budget.depths)
    figures = []
    for cell, name in (("rnn", "RNN"), ("cudnn-gru", "GRU"), ("lstm", "LSTM")):
        for reverses in (False, True):
            members = results.members(Configuration(cell, reverses, depth))  # type: ignore[arg-type]
            source = mean([results.from_source(member) for member in members])
            figures.append(
                f"{name} {'reversed' if reverses else 'forward'}: perplexity "
                f"{results.mean_perplexity(members).value:.2f}, BLEU {results.mean_bleu(members, _WIDEST).value:.2f}, "
                f"{source.value:.2f} nats a token from the source"
            )
    forward, reverse = (results.members(Configuration("rnn", reverses, depth)) for reverses in (False, True))
    gains = [
        results.log_perplexity(mine) - results.log_perplexity(yours)
        for mine, yours in zip(forward, reverse, strict=True)
    ]
    return measured(
        "P38",
        "a plain RNN, which did not train on sources read forward, trains on reversed ones",
        "believed, not verified",
        f"depth {depth}, same budget: " + "; ".join(figures),
        mean(gains),
        name="nats a token that reversal saves the RNN",
        by_seed=[each.value for each in gains],
        form="+.3f",
    )


def _positions(results: Results) -> Row:
    pairs = list(zip(results.members(results.best), results.members(results.best.other_direction()), strict=True))
    parts = []
    for part in range(len(_PARTS)):
        gains = [
            (results.accuracy_by_part(mine)[part] - results.accuracy_by_part(yours)[part]).map(lambda gain: 100 * gain)
            for mine, yours in pairs
        ]
        parts.append(gains)
    return measured(
        "P39",
        "reversal helps memory as a whole, and not the first target words alone",
        "believed",
        "points of accuracy gained, "
        + ", ".join(f"{name} third {mean(gains).value:+.1f}" for name, gains in zip(_PARTS, parts, strict=True)),
        mean(parts[-1]),
        name="points in the last third",
        by_seed=[each.value for each in parts[-1]],
        form="+.1f",
    )

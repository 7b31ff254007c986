"""Rows that compare sources read forward and in reverse: of the deepest network, with the other depths beside it."""

from __future__ import annotations

from collections.abc import Callable

from training.scorecard.grid import Member
from training.scorecard.measuring import BEAMS
from training.scorecard.resampling import Estimate, Integers, mean
from training.scorecard.results import Configuration, Results, by_thirds
from training.scorecard.rows import Row, measured
from translator.config import CellName

_WIDEST = max(BEAMS)
_PARTS = ("first", "middle", "last")
_CELLS: tuple[tuple[CellName, str], ...] = (("rnn", "RNN"), ("cudnn-gru", "GRU"), ("lstm", "LSTM"))

Gain = Callable[[Member, Member], Estimate]
"""What a model that reads in reverse gains over one of the same seed that reads forward."""


def direction_claims(results: Results) -> list[Row]:
    """P9, P11, P38 and P39."""
    return [_reversal(results), _long_sentences(results), _simpler_cells(results), _positions(results)]


def _gains(results: Results, depth: int, gain: Gain, cell: CellName = "lstm") -> list[Estimate]:
    """`gain` seed by seed."""
    reverse, forward = (results.members(Configuration(cell, reverses, depth)) for reverses in (True, False))
    return [gain(mine, yours) for mine, yours in zip(reverse, forward, strict=True)]


def _at_other_depths(results: Results, gain: Gain, form: str = "+.2f", *, of: str = "") -> str:
    """The mean gain at each other depth with its interval, to be added to a row's text."""
    found = []
    for depth in results.budget.depths:
        if depth != results.budget.deepest:
            effect = mean(_gains(results, depth, gain))
            low, high = effect.interval
            found.append(f"{depth}: {effect.value:{form}} ({low:{form}} to {high:{form}})")
    return f"; {of}at depth {', '.join(found)}" if found else ""


def _bleu_gain(results: Results, sentences: Integers | None = None) -> Gain:
    return lambda mine, yours: results.bleu(mine, _WIDEST, sentences) - results.bleu(yours, _WIDEST, sentences)


def _reversal(results: Results) -> Row:
    best = results.best
    directions = (best.other_direction(), best)
    bleu = [results.mean_bleu(results.members(each), _WIDEST).value for each in directions]
    perplexity = [results.mean_perplexity(results.members(each)).value for each in directions]
    gain = _bleu_gain(results)
    gains = _gains(results, best.depth, gain)
    row = measured(
        "P9",
        "reversing the source helps",
        "perplexity 5.8 → 4.7, BLEU 25.9 → 30.6 (26.17 → 30.59 in Table 1)",
        f"depth {best.depth}: perplexity {perplexity[0]:.2f} → {perplexity[1]:.2f}, BLEU {bleu[0]:.2f} → {bleu[1]:.2f}"
        f"{_at_other_depths(results, gain)}",
        mean(gains),
        name=f"BLEU gained at depth {best.depth}",
        by_seed=[each.value for each in gains],
    )
    if row.verdict == "holds" and perplexity[1] >= perplexity[0]:
        return row.model_copy(update={"verdict": "undecided", "reason": "BLEU rises, but the perplexity does not fall"})
    return row


def _long_sentences(results: Results) -> Row:
    depth = results.budget.deepest
    lengths = [len(source.split()) for source in results.text.sources]
    short, _, long = by_thirds(lengths)
    on_long = _bleu_gain(results, long)
    gains = _gains(results, depth, on_long)
    on_short = mean(_gains(results, depth, _bleu_gain(results, short)))
    return measured(
        "P11",
        "reversed models do better on long sentences",
        "much better; no figure",
        f"BLEU gained at depth {depth}: {mean(gains).value:+.2f} on the third of longest sentences "
        f"({min(lengths[index] for index in long)} to {max(lengths)} words), {on_short.value:+.2f} on the shortest "
        f"third{_at_other_depths(results, on_long, of='on the longest third ')}",
        mean(gains),
        name="BLEU gained on long sentences",
        by_seed=[each.value for each in gains],
    )


def _positions(results: Results) -> Row:
    depth = results.budget.deepest

    def gain_in(part: int) -> Gain:
        def gain(mine: Member, yours: Member) -> Estimate:
            difference = results.accuracy_by_part(mine)[part] - results.accuracy_by_part(yours)[part]
            return difference.map(lambda share: 100 * share)

        return gain

    parts = [_gains(results, depth, gain_in(part)) for part in range(len(_PARTS))]
    last = gain_in(len(_PARTS) - 1)
    return measured(
        "P39",
        "reversal helps memory as a whole, and not the first target words alone",
        "believed",
        f"points of accuracy gained at depth {depth}: "
        + ", ".join(f"{name} third {mean(gains).value:+.1f}" for name, gains in zip(_PARTS, parts, strict=True))
        + _at_other_depths(results, last, "+.1f", of="in the last third "),
        mean(parts[-1]),
        name="points in the last third",
        by_seed=[each.value for each in parts[-1]],
        form="+.1f",
    )


def _simpler_cells(results: Results) -> Row:
    """Section 5: believed by the authors, not verified."""
    depth = min(results.budget.depths)
    figures = []
    for cell, name in _CELLS:
        for reverses in (False, True):
            members = results.members(Configuration(cell, reverses, depth))
            source = mean([results.from_source(member) for member in members])
            figures.append(
                f"{name} {'reversed' if reverses else 'forward'}: perplexity "
                f"{results.mean_perplexity(members).value:.2f}, BLEU {results.mean_bleu(members, _WIDEST).value:.2f}, "
                f"{source.value:.2f} nats a token from the source"
            )
    gains = _gains(
        results, depth, lambda mine, yours: results.log_perplexity(yours) - results.log_perplexity(mine), "rnn"
    )
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

"""python -m tests.benchmarks.packing PREPARED

Equal source lengths or packing: source tokens a second through an encoder of four LSTM layers, forwards and backwards.

Contenders, of 128 sentences a batch and in turn: the trainer's batches, in which all sources have one length; batches
of neighbours in a window of 4,096 pairs that is sorted by length, and batches of pairs as they come, each both packed
(`pack_padded_sequence`) and as it is, where the layers also compute the padding and the sentence's last state would
still have to be fetched.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from training.batches import BatchSampler
from training.hardware import keep_memory_steady
from training.prepared import load_prepared

_BATCH = 128
_WINDOW = 4_096
_LAYERS = 4
_SEED = 1

Lengths = NDArray[np.int64]


def contenders(prepared: Path, batches: int) -> dict[str, tuple[list[Lengths], bool]]:
    """Source lengths of some batches of each, `<EOS>` included, and whether they are packed."""
    pairs = load_prepared(prepared).train
    lengths = np.asarray(pairs.source_lengths, dtype=np.int64) + 1
    order = np.random.default_rng(_SEED).permutation(len(lengths))
    window = order[:_WINDOW]
    window = window[np.argsort(lengths[window], kind="stable")]
    epoch = list(BatchSampler(pairs, batch_sentences=_BATCH, seed=_SEED).epoch(0))
    equal = [lengths[chosen] for chosen in epoch[:batches]]
    every = max(1, len(window) // _BATCH // batches)
    alike = [lengths[chosen] for chosen in np.array_split(window, len(window) // _BATCH)[::every]]
    mixed = [lengths[chosen] for chosen in np.array_split(order[: _BATCH * batches], batches)]
    return {
        "equal lengths": (equal, False),
        "like lengths, padded": (alike, False),
        "like lengths, packed": (alike, True),
        "as they come, padded": (mixed, False),
        "as they come, packed": (mixed, True),
    }


def tokens_per_second(
    step: Callable[[Lengths, bool], None], batches: list[Lengths], packed: bool, device: torch.device
) -> float:
    """Source tokens, padding not counted."""
    step(batches[0], packed)
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for lengths in batches:
        step(lengths, packed)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return sum(int(lengths.sum()) for lengths in batches) / (time.perf_counter() - start)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("prepared", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--hidden-size", default=512)
@click.option("--batches", default=12, help="Batches of each contender in a round.")
@click.option("--rounds", default=3)
def main(prepared: Path, hidden_size: int, batches: int, rounds: int) -> None:
    """Measure with the source lengths of a PREPARED folder, on the GPU where there is one; bfloat16."""
    keep_memory_steady()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    layers = [nn.LSTM(hidden_size, hidden_size, batch_first=True).to(device) for _ in range(_LAYERS)]

    def step(lengths: Lengths, packed: bool) -> None:
        states: Tensor | PackedSequence = torch.randn(len(lengths), int(lengths.max()), hidden_size, device=device)
        states.requires_grad_()
        with torch.autocast(device.type, torch.bfloat16):
            if packed:
                states = pack_padded_sequence(states, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False)
            for layer in layers:
                states, _ = layer(states)
            read = states.data if isinstance(states, PackedSequence) else states
            read.float().sum().backward()

    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, (lengths, packed) in contenders(prepared, batches).items():
            found.setdefault(name, []).append(tokens_per_second(step, lengths, packed, device))
    best = statistics.median(next(iter(found.values())))
    table = Table(title=f"Encoder of {_LAYERS} × {hidden_size}, forwards and backwards, {device}, bfloat16")
    for heading in ("batches", "of equal lengths' speed", "source tokens/s (smallest–largest)"):
        table.add_column(heading, justify="left" if heading == "batches" else "right")
    for name, rates in found.items():
        median = statistics.median(rates)
        table.add_row(name, f"{median / best:.2f}", f"{median:,.0f} ({min(rates):,.0f}–{max(rates):,.0f})")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.packing")

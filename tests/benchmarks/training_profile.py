"""Where the time of an update goes: by part of the network, from hooks, and by operation, from torch's profiler."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.table import Table
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.hooks import RemovableHandle

from tests.benchmarks.training_ceiling import synchronise
from tests.benchmarks.training_pieces import Update
from training.batches import Batch
from translator.model import Encoded

_MOST_OPERATIONS = 14
_PARTS = (
    "zeroing of gradients",
    "encoder, forward",
    "decoder, forward",
    "projection and cross-entropy with their gradients",
    "decoder, backward",
    "encoder, backward",
    "clipping",
    "optimiser",
)


@dataclass(frozen=True)
class Share:
    """One part of an update, or one kind of operation in it."""

    name: str
    seconds: float
    """An update, on the device."""
    share: float
    calls: float | None = None
    """An update."""


class _Marks:
    """The time since the last mark, by part. The device is waited for at each, so that the time is that part's own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last = 0.0
        self.seconds = dict.fromkeys(_PARTS, 0.0)

    def start(self) -> None:
        synchronise(self._device)
        self._last = time.perf_counter()

    def end(self, part: str) -> None:
        synchronise(self._device)
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now


@contextmanager
def _hooked(update: Update, marks: _Marks) -> Iterator[None]:
    """Hooks that set marks: public ones of modules, tensors and optimisers, whatever the trainer looks like inside."""
    before, encode, decode, project, decode_back, encode_back, clip, step = _PARTS
    model = update.model
    handles: list[RemovableHandle] = []

    def encoded(_module: Any, _arguments: Any, output: Encoded) -> None:
        marks.end(encode)
        # The decoder's gradient for its first state is the last thing that its backward pass computes.
        output.state.hidden_LBH.register_hook(ended(decode_back))

    def decoded(_module: Any, _arguments: Any, output: tuple[Tensor, Any]) -> None:
        marks.end(decode)
        output[0].register_hook(ended(project))

    def ended(part: str) -> Any:
        return lambda *_: marks.end(part)

    handles.append(model.register_forward_pre_hook(ended(before)))
    handles.append(model.encoder.register_forward_hook(encoded))
    handles.append(model.decoder.register_forward_hook(decoded))
    # The source embedding is what the backward pass comes to last.
    handles.append(model.encoder.embedding.weight.register_post_accumulate_grad_hook(ended(encode_back)))
    handles.append(update.optimiser.register_step_pre_hook(ended(clip)))
    handles.append(update.optimiser.register_step_post_hook(ended(step)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def time_parts(update: Update, batches: Sequence[Batch]) -> list[Share]:
    """Mean seconds of the parts of an update. Waiting for the device in between costs a little time itself."""
    marks = _Marks(update.device)
    with _hooked(update, marks):
        for batch in batches:
            marks.start()
            update(batch)
    total = sum(marks.seconds.values())
    return [Share(part, seconds / len(batches), seconds / total) for part, seconds in marks.seconds.items()]


def profile_operations(update: Update, batches: Sequence[Batch]) -> list[Share]:
    """The operations that take longest by torch's profiler, without what they call themselves.

    On a GPU these are its kernels, elsewhere torch's own operations.
    """
    on_gpu = update.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    synchronise(update.device)
    with profile(activities=activities, acc_events=True) as profiler:
        for batch in batches:
            update(batch)
        synchronise(update.device)
    # With a GPU, an operation's own time on the device is that of the kernels that it starts, which are listed too.
    found = [
        (event.key, (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6, event.count)
        for event in profiler.key_averages()
        if (event.device_type == torch.autograd.DeviceType.CUDA) == on_gpu
    ]
    total = sum(seconds for _, seconds, _ in found) or 1.0
    longest = sorted(found, key=lambda entry: -entry[1])[:_MOST_OPERATIONS]
    rounds = len(batches)
    shares = [Share(name, seconds / rounds, seconds / total, calls / rounds) for name, seconds, calls in longest]
    rest = total - sum(seconds for _, seconds, _ in longest)
    return [*shares, Share("all others", rest / rounds, rest / total)]


def shares_table(title: str, shares: Sequence[Share]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("share", "ms an update", "calls"):
        table.add_column(heading, justify="right")
    table.add_column("what", overflow="fold", max_width=90)
    for share in shares:
        calls = "" if share.calls is None else f"{share.calls:,.0f}"
        table.add_row(f"{share.share:.1%}", f"{share.seconds * 1e3:,.2f}", calls, share.name)
    return table


def as_document(shares: Sequence[Share]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(share) for share in shares]

"""`python -m tests.benchmarks.training_throughput`: how long the paper's training would take on one device.

The network, the batches' making, the loss, the clipping and the optimiser are those of the paper and of our trainer.
The text is synthetic: lengths of sentences as in the WMT news test sets, words by Zipf's law over the vocabularies.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click
import torch
from rich.console import Console

from tests.benchmarks.newstest_lengths import count_lengths, draw_pairs, newstest_lengths
from tests.benchmarks.synthetic_pairs import synthetic_pairs
from tests.benchmarks.throughput_report import Case, Setting, throughput_table
from tests.benchmarks.training_ceiling import Peak, matrix_product_peak, products_of, synchronise
from tests.benchmarks.training_pieces import Update, batches_of, make_paper_recipe, make_sampler, work_of
from tests.benchmarks.training_profile import Share, as_document, profile_operations, shares_table, time_parts
from training.batches import Batch
from training.cost import Work, training_flops
from training.hardware import has_fast_bfloat16, make_deterministic
from training.prepared import EncodedPairs

PAPER_BATCH = 128
_WINDOWS = 10
_PROFILED = 6
_WIDTH = 150
PROGRESS = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--hidden", default=1000, type=click.IntRange(1), help="Cells in each layer, and size of embeddings.")
@click.option("--layers", default=4, type=click.IntRange(1), help="Layers of the encoder, and of the decoder.")
@click.option("--source-vocabulary", default=160_000, type=click.IntRange(10), help="Source words.")
@click.option("--target-vocabulary", default=80_000, type=click.IntRange(10), help="Target words.")
@click.option(
    "--batch",
    "batches",
    default=(1024,),
    multiple=True,
    type=click.IntRange(1),
    help=f"Sentence pairs in a batch; may be repeated. The paper's {PAPER_BATCH} are measured in any case.",
)
@click.option("--steps", default=200, type=click.IntRange(_WINDOWS), help="Updates that are measured.")
@click.option("--warm-up", default=20, type=click.IntRange(1), help="Updates before them.")
@click.option("--pairs", default=1 << 20, type=click.IntRange(1000), help="Sentence pairs to make batches of.")
@click.option(
    "--lengths",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Source and target file to count lengths in, instead of the counts of newstest that come with this.",
)
@click.option("--device", default="cuda", type=click.Choice(["cuda", "cpu"]), help="What to train on.")
@click.option("--deterministic/--not-deterministic", default=False, help="Only operations that repeat to the bit.")
@click.option("--minutes", default=3.0, type=click.FloatRange(0.1), help="Stop measuring a batch size after so long.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all numbers here.")
def main(
    hidden: int,
    layers: int,
    source_vocabulary: int,
    target_vocabulary: int,
    batches: tuple[int, ...],
    steps: int,
    warm_up: int,
    pairs: int,
    lengths: tuple[Path, Path] | None,
    device: str,
    deterministic: bool,
    minutes: float,
    json_file: Path | None,
) -> None:
    """Measure how many words a second the paper's network trains on, against what the device can do."""
    if device == "cuda" and not torch.cuda.is_available():
        raise click.UsageError("there is no GPU here; --device cpu with small sizes shows that all works")
    if deterministic:
        make_deterministic()
    chosen = torch.device(device)
    try:
        counted = count_lengths(*lengths) if lengths else newstest_lengths()
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from error
    PROGRESS.print(f"drawing {pairs:,} pairs")
    encoded = synthetic_pairs(draw_pairs(counted, pairs, seed=1), source_vocabulary, target_vocabulary, seed=1)
    setting = Setting(
        device=_name(chosen),
        hidden=hidden,
        layers=layers,
        source_vocabulary=source_vocabulary,
        target_vocabulary=target_vocabulary,
        deterministic=deterministic,
        lengths=", ".join(file.name for file in lengths) if lengths else "newstest 2008–2011 en-fr",
        pairs=pairs,
        mean_source_words=float(encoded.source_lengths.mean()),
        mean_target_words=float(encoded.target_lengths.mean()),
    )
    run = _Run(setting, encoded, chosen, steps, warm_up, 60 * minutes, json_file)
    for batch in sorted({*batches, PAPER_BATCH}):
        run.measure(batch)
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    for batch, (parts, operations) in run.profiles.items():
        console.print(shares_table(f"Parts of an update, the device waited for between them: batch {batch}", parts))
        console.print(shares_table(f"Operations, by torch.profiler: batch {batch}", operations))
    console.print(throughput_table(setting, run.cases))
    if not any(case.words for case in run.cases):
        sys.exit(1)


@dataclass
class _Run:
    """All batch sizes, one after the other; what is known is written after each, so that nothing can lose it."""

    setting: Setting
    pairs: EncodedPairs
    device: torch.device
    steps: int
    warm_up: int
    most_seconds: float
    json_file: Path | None
    cases: list[Case] = field(default_factory=list)
    profiles: dict[int, tuple[list[Share], list[Share]]] = field(default_factory=dict)

    def measure(self, batch: int) -> None:
        """Measure a batch size, and profile it; where memory is not enough, say so and go on."""
        case = Case(batch)
        self.cases.append(case)
        try:
            self._measure(case)
        except torch.OutOfMemoryError as error:
            case.failure = f"out of memory: {str(error).splitlines()[0]}"
            PROGRESS.print(f"batch {batch}: {case.failure}")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._write()

    def _measure(self, case: Case) -> None:
        setting, device = self.setting, self.device
        recipe = make_paper_recipe(
            size=setting.hidden, layers=setting.layers, batch_sentences=case.batch, deterministic=setting.deterministic
        )
        shape = recipe.model.configuration(setting.source_vocabulary, setting.target_vocabulary)
        low_precision = has_fast_bfloat16(device)
        case.precision = "bfloat16, fp32 master weights" if low_precision else "float32"
        target_tokens = math.ceil(case.batch * (setting.mean_target_words + 1))
        peak = matrix_product_peak(
            device,
            torch.bfloat16 if low_precision else torch.float32,
            products_of(shape, case.batch, target_tokens),
        )
        case.peak, case.peak_size = peak.operations_per_second, peak.size
        PROGRESS.print(f"batch {case.batch}: matrix products {peak}; {self.warm_up} updates of warm-up")
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        update = Update(recipe, shape, device)
        case.parameters = update.model.parameter_count()
        case.target_padding = make_sampler(self.pairs, recipe).target_padding()
        case.source_operations = training_flops(shape, Work(source_tokens=1))
        case.target_operations = training_flops(shape, Work(target_tokens=1))
        source = batches_of(self.pairs, recipe, device)
        for batch in itertools.islice(source, self.warm_up):
            update(batch)
        synchronise(device)
        PROGRESS.print(f"batch {case.batch}: {self.steps} updates")
        self._time(case, update, source, peak)
        case.peak_memory_bytes = _peak_memory(device)
        PROGRESS.print(f"batch {case.batch}: {case.words_per_second:,.0f} words/s; profiling")
        some = list(itertools.islice(source, _PROFILED))
        self._write()
        self.profiles[case.batch] = (time_parts(update, some), profile_operations(update, some))

    def _time(self, case: Case, update: Update, source: Iterator[Batch], peak: Peak) -> None:
        """The updates, in windows; nothing waits for the device inside of one."""
        end = time.perf_counter() + self.most_seconds
        done, length = 0, self.steps // _WINDOWS
        while done < self.steps and (done == 0 or time.perf_counter() < end):
            work, sentences = Work(), 0
            start = time.perf_counter()
            for batch in itertools.islice(source, min(length, self.steps - done)):
                update(batch)
                work += work_of(batch)
                sentences += batch.source_BS.shape[0]
                done += 1
            synchronise(self.device)
            seconds = time.perf_counter() - start
            operations = training_flops(update.model.config, work)
            # The end of a sentence is work and no word.
            words = (work.source_tokens - sentences, work.target_tokens - sentences)
            case.window(*words, sentences, seconds, operations / peak.operations_per_second)
        case.updates = done

    def _write(self) -> None:
        if self.json_file is None:
            return
        document = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "setting": asdict(self.setting),
            "cases": [case.document() for case in self.cases],
            "profiles": {
                batch: {"parts": as_document(parts), "operations": as_document(operations)}
                for batch, (parts, operations) in self.profiles.items()
            },
        }
        self.json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _peak_memory(device: torch.device) -> int:
    """Bytes that torch held at most on the GPU; on the CPU those of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        versions = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {versions}"
    return f"CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.machine()}, {torch.__version__}"


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.training_throughput")

"""Shards translated by the nodes of a Ray cluster, with Ray Data. Loads no torch.

The items of the data set are the shards, not the rows: what a node that was lost had in hand is done again as a whole
by another one, and a row is neither lost nor there twice. The rows themselves are read and written by the workers, and
do not pass through Ray.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Generator, Sequence
from dataclasses import asdict
from typing import Any

from translator.corpus.inputs import CorpusError
from translator.corpus.manifest import Shard
from translator.corpus.work import Outcome, Work

_CONNECTION_SECONDS = 10.0
# A block of items is what Ray does again; one that holds several shards finds those that are finished.
_MOST_BLOCKS = 10_000


def translate_on_cluster(work: Work, shards: Sequence[Shard], workers: int | None, address: str) -> Generator[Outcome]:
    """The outcome of each shard, as they are finished, by up to `workers` actors (default: one for each core of the
    cluster, or for each GPU), each of which loads the model once.

    Raises:
        CorpusError: Ray is not installed, there is no cluster, or it failed.
    """
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise CorpusError(
            "--ray needs Ray; install it here and on every node: pip install 'seq2seq-translator[cluster]'"
        ) from error
    resource = "CPU" if work.manifest.settings.device == "cpu" else "GPU"
    try:
        _check_answers(address)
        ray.init(address=address, logging_level="error", log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CorpusError(f"no Ray cluster at {address} ({reason}); `ray start --head` begins one") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        most = workers or int(ray.cluster_resources().get(resource, 0))
        if not most:
            raise CorpusError(f"the Ray cluster at {address} has no {resource}; add nodes, or choose another --device")
        items = [{"shard": shard.model_dump_json()} for shard in shards]
        outcomes = ray.data.from_items(items, override_num_blocks=min(len(items), _MOST_BLOCKS)).map_batches(
            _Actor,
            fn_constructor_args=(work,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
            **{"num_cpus" if resource == "CPU" else "num_gpus": 1},
        )
        for row in outcomes.iter_rows():
            yield Outcome(**json.loads(row["outcome"]))
    except ray.exceptions.RayError as error:
        raise CorpusError(
            f"the Ray cluster at {address} failed ({str(error).splitlines()[0]}); the same command goes on"
        ) from error
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise `OSError` or `ValueError` where nothing listens at the address: Ray itself tries for minutes."""
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError("an address is HOST:PORT or auto")
        socket.create_connection((host, int(port)), timeout=_CONNECTION_SECONDS).close()


class _Actor:
    """A worker, as Ray Data calls it: with batches of one shard."""

    def __init__(self, work: Work) -> None:
        from translator.corpus.shards import ShardTranslator

        self._translator = ShardTranslator(work)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        outcomes = [self._translator(Shard.model_validate_json(shard)) for shard in batch["shard"]]
        return {"outcome": [json.dumps(asdict(outcome.on(socket.gethostname()))) for outcome in outcomes]}

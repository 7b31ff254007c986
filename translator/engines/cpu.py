"""The CPU engine: weights packed once in int8, bfloat16 or float32, and a step that is one call of C++ (see native/).

A sentence's results are the same, bit for bit, in any batch and with any number of threads. In int8 every matrix has
one scale for each output and every row of activations has one scale of its own; sums are whole numbers.

R rows, N sentences, K the widest beam.
"""

from __future__ import annotations

import copy
import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from translator.engines.base import Beams, Extensions, Integers, refuse_what_is_beyond
from translator.engines.native_library import (
    PRECISIONS,
    LayerWeights,
    Shape,
    Step,
    Weights,
    instruction_sets,
    load_library,
)
from translator.model import Seq2Seq

Precision = Literal["int8", "bfloat16", "float32"]

_LARGEST_EMBEDDING = 16_384
_SPARE_SLABS = 3


@dataclass
class CPURows:
    """The decoder's state of R hypotheses.

    `states` uint8 [capacity, state bytes], of which `used` are written; row r stands at `places_R[r]` (int32).
    `sources_R` (int64) are the addresses of the rows' source blocks (what attention and h(x) at every step need, in
    float32) and `lengths_R` (int32) their source positions; `blocks` keeps those blocks alive.
    """

    states: npt.NDArray[np.uint8]
    used: int
    places_R: npt.NDArray[np.int32]
    sources_R: Integers
    lengths_R: npt.NDArray[np.int32]
    blocks: tuple[npt.NDArray[np.float32], ...]


class CPUEngine:
    """A `Seq2Seq` whose weights were packed for this processor. One thread may use it at a time."""

    def __init__(
        self,
        model: Seq2Seq,
        *,
        source_eos_id: int,
        target_eos_id: int,
        forbidden: Sequence[int] = (),
        precision: Precision = "int8",
        threads: int | None = None,
        instruction_set: str | None = None,
    ) -> None:
        """`forbidden` target tokens, such as `<pad>`, get probability 0. The weights are packed as they are at the time
        of this call; the embeddings stay the model's. `threads` are torch's if not given, `instruction_set` the best
        that this processor has.

        Raises `ValueError` where the library is missing or has no such instruction set, where a weight is not finite,
        for embeddings of more than 16,384 dimensions, and for an architecture that is beyond it.
        """
        refuse_what_is_beyond("cpu", model.config)
        library = load_library()
        available = instruction_sets()
        if library is None:
            raise ValueError(
                "the cpu engine needs its compiled library: reinstall with a C++ compiler, or use engine=reference"
            )
        self.instruction_set = instruction_set or available[0]
        if self.instruction_set not in available:
            raise ValueError(f"instruction set {instruction_set} is not one of {', '.join(available)}")
        config = model.config
        if config.embedding_size > _LARGEST_EMBEDDING:
            raise ValueError(f"the cpu engine takes embeddings of up to {_LARGEST_EMBEDDING:,} dimensions")
        self.eos_id = target_eos_id
        self.vocabulary_size = config.target_vocabulary_size
        self.precision: Precision = precision
        self.threads = threads or torch.get_num_threads()
        self._library = library
        self._source_eos_id = source_eos_id
        self._source_vocabulary_size = config.source_vocabulary_size
        self._reverse_source = config.reverse_source
        packer = _Packer(model, forbidden)
        self._embeddings = packer.embeddings  # the library reads them where they are
        shape = Shape(
            config.source_vocabulary_size, config.target_vocabulary_size, config.embedding_size, config.hidden_size,
            config.num_layers, config.residual, config.feed_context, config.attention != "none", config.bidirectional,
            target_eos_id,
        )  # fmt: skip
        self._take_over(
            library.translator_create(
                self.instruction_set.encode(), PRECISIONS.index(precision), shape, packer.weights(), self.threads
            )
        )
        self._state_bytes: int = library.translator_state_bytes(self._network)

    def another(self) -> CPUEngine:
        """An engine over the same packed weights, for another thread to use at the same time."""
        other = copy.copy(self)
        other._take_over(self._library.translator_another(self._network, self.threads))
        return other

    def _take_over(self, network: int | None) -> None:
        """`network` is this engine's from here on, and so is what one thread alone may use."""
        if network is None:
            raise MemoryError("not enough memory for the packed weights")
        self._network = network
        weakref.finalize(self, self._library.translator_destroy, network)
        self._spare: list[npt.NDArray[np.uint8]] = []
        self._drawn_R = np.full(64, -1, dtype=np.int32)

    @property
    def packed_bytes(self) -> int:
        """Bytes of the packed weights, embeddings not counted."""
        return int(self._library.translator_packed_bytes(self._network))

    def describe(self) -> str:
        """See `Engine.describe`."""
        return f"cpu, {self.precision}, {self.instruction_set}, {self.threads} threads"

    def encode(self, sources: Sequence[Sequence[int]]) -> CPURows:
        """One row for each source sentence (token ids in reading order, without `<EOS>`)."""
        read = [[*(reversed(source) if self._reverse_source else source), self._source_eos_id] for source in sources]
        lengths_N = np.array([len(source) for source in read], dtype=np.int32)
        tokens = np.array([token for source in read for token in source], dtype=np.int64)
        _check_tokens(tokens, self._source_vocabulary_size)
        floats = [self._library.translator_source_floats(self._network, int(length)) for length in lengths_N]
        starts = np.cumsum([0, *floats])
        block = np.empty(int(starts[-1]), dtype=np.float32)
        sources_N = block.ctypes.data + 4 * starts[:-1].astype(np.int64)
        states = self._slab(len(sources))
        self._call(
            self._library.translator_encode(
                self._network, len(sources), _address(lengths_N), _address(tokens), _address(states),
                _address(sources_N),
            )
        )  # fmt: skip
        places = np.arange(len(sources), dtype=np.int32)
        return CPURows(states, len(sources), places, sources_N, lengths_N, (block,))

    def step(self, rows: CPURows, beams: Beams) -> tuple[Extensions, CPURows]:
        """See `Engine.step`."""
        count, sentences = len(rows.places_R), len(beams.widths_N)
        beam = int(beams.beam_sizes_N.max(initial=0))
        if len(self._drawn_R) < count:
            self._drawn_R = np.full(2 * count, -1, dtype=np.int32)
        drawn = len(beams.drawn_D)
        if drawn:
            self._drawn_R[beams.drawn_D] = np.arange(drawn, dtype=np.int32)
        extensions = Extensions(
            np.empty((sentences, beam), dtype=np.float32),
            np.empty((sentences, beam), dtype=np.int64),
            np.empty((sentences, beam), dtype=np.int64),
            np.empty(count, dtype=np.float32),
            np.empty((drawn, self.vocabulary_size), dtype=np.float32),
        )
        states = self._slab(count)
        arguments = Step(
            count, sentences, min(beam + 1, self.vocabulary_size), beam,
            _address(rows.states), _address(rows.places_R), _address(states), _address(rows.sources_R),
            _address(rows.lengths_R), _address(beams.tokens_R), _address(beams.scores_R),
            _address(beams.widths_N), _address(beams.beam_sizes_N), _address(self._drawn_R),
            _address(extensions.scores_NK), _address(extensions.ended_R),
            _address(extensions.log_probabilities_DV), _address(extensions.parents_NK),
            _address(extensions.tokens_NK),
        )  # fmt: skip
        failed = self._library.translator_step(self._network, ctypes.byref(arguments))
        if drawn:
            self._drawn_R[beams.drawn_D] = -1
        self._call(failed)
        self._give_back(rows.states)
        places = np.arange(count, dtype=np.int32)
        return extensions, CPURows(states, count, places, rows.sources_R, rows.lengths_R, rows.blocks)

    def take(self, rows: CPURows, indices: Integers) -> CPURows:
        """See `Engine.take`. Nothing is copied: the next step reads each state where it stands."""
        return CPURows(
            rows.states,
            rows.used,
            rows.places_R[indices],
            rows.sources_R[indices],
            rows.lengths_R[indices],
            rows.blocks,
        )

    def append(self, rows: CPURows, others: CPURows) -> CPURows:
        """See `Engine.append`."""
        used = rows.used + others.used
        states = rows.states
        if used > len(states):
            states = self._slab(used)
            states[: rows.used] = rows.states[: rows.used]
            self._give_back(rows.states)
        states[rows.used : used] = others.states[: others.used]
        self._give_back(others.states)
        sources_R = np.concatenate([rows.sources_R, others.sources_R])
        return CPURows(
            states,
            used,
            np.concatenate([rows.places_R, others.places_R + np.int32(rows.used)]),
            sources_R,
            np.concatenate([rows.lengths_R, others.lengths_R]),
            _needed((*rows.blocks, *others.blocks), sources_R),
        )

    def _slab(self, rows: int) -> npt.NDArray[np.uint8]:
        """Room for the states of so many rows: one given back, if there is one, because fresh memory is slow."""
        for position, slab in enumerate(self._spare):
            if len(slab) >= rows:
                return self._spare.pop(position)
        return np.empty((rows + rows // 4 + 8, self._state_bytes), dtype=np.uint8)

    def _give_back(self, slab: npt.NDArray[np.uint8]) -> None:
        self._spare.append(slab)
        if len(self._spare) > _SPARE_SLABS:
            self._spare.sort(key=len)
            del self._spare[0]

    def _call(self, failed: int) -> None:
        if failed:
            raise MemoryError("not enough memory for a decoder step")


class _Packer:
    """Pointers to a model's weights in float32, and the arrays that keep them valid."""

    def __init__(self, model: Seq2Seq, forbidden: Sequence[int]) -> None:
        self._kept: list[object] = []
        self._model = model
        self._forbidden = forbidden
        self.embeddings = (self._array(model.encoder.embedding.weight), self._array(model.decoder.embedding.weight))

    def weights(self) -> Weights:
        decoder = self._model.decoder
        forbidden_V = torch.zeros(self._model.config.target_vocabulary_size)
        forbidden_V[list(self._forbidden)] = -torch.inf
        self._kept.append(forbidden_V)
        return Weights(
            self.embeddings[0].data_ptr(),
            self.embeddings[1].data_ptr(),
            self._layers(self._model.encoder.stack.lstm_layers()),
            self._layers(decoder.stack.lstm_layers()),
            None if decoder.attention is None else self._array(decoder.attention.combine.weight).data_ptr(),
            self._array(decoder.output.weight).data_ptr(),
            self._array(decoder.output.bias).data_ptr(),
            forbidden_V.data_ptr(),
        )

    def _layers(self, layers: list[nn.LSTM]) -> ctypes.Array[LayerWeights]:
        return (LayerWeights * len(layers))(
            *(
                LayerWeights(
                    self._array(layer.get_parameter("weight_ih_l0")).data_ptr(),
                    self._array(layer.get_parameter("weight_hh_l0")).data_ptr(),
                    self._array(layer.get_parameter("bias_ih_l0") + layer.get_parameter("bias_hh_l0")).data_ptr(),
                )
                for layer in layers
            )
        )

    def _array(self, tensor: Tensor) -> Tensor:
        array = tensor.detach().to("cpu", torch.float32).contiguous()
        if not bool(array.isfinite().all()):
            raise ValueError("the model has weights that are not finite numbers; train it again")
        self._kept.append(array)
        return array


def _address(array: Any) -> int | None:
    """Where an array's numbers stand; a third of the time of numpy's own `ctypes.data`."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array)) if array.size else None


def _check_tokens(tokens: Integers, vocabulary_size: int) -> None:
    if len(tokens) and not (int(tokens.min()) >= 0 and int(tokens.max()) < vocabulary_size):
        raise ValueError(f"a source token is not in the vocabulary of {vocabulary_size} entries")


def _needed(blocks: tuple[npt.NDArray[np.float32], ...], sources_R: Integers) -> tuple[npt.NDArray[np.float32], ...]:
    """Those blocks that a row's source lies in."""
    needed = []
    for block in blocks:
        start = block.ctypes.data
        if bool(((sources_R >= start) & (sources_R <= start + block.nbytes)).any()):
            needed.append(block)
    return tuple(needed)

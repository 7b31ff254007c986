"""The cuda engine: bfloat16 on an NVIDIA GPU, a decoder step being one CUDA graph and one copy to the host.

Products are of bfloat16 numbers and are summed and handed on in float32; gates, cell states and logits are float32. The
source is read in float16, which is finer than bfloat16, and for which PyTorch lays an LSTM's weights out for cuDNN.

A graph works at fixed addresses and in fixed shapes. The states that are stepped therefore stand in the engine's own
buffers, and a step is padded to a `Shape`, of which there are few. cuBLAS and cuDNN choose their kernels by shape:
within a shape a row's results do not depend on its neighbours; between shapes the order of summation differs, which in
float32 is about 1e-6 in log p, and more where it tips the rounding of a state to bfloat16.

R rows (live hypotheses), B sentences read together, S source positions, M positions of all sources, L layers,
E embedding, H hidden, G gates (4 · hidden), I inputs of a product, D drawn rows, V target vocabulary.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from translator.engines.base import Beams, Extensions, Integers, refuse_what_is_beyond
from translator.engines.cuda_plan import Plan, Shape, padded_rows
from translator.engines.cuda_states import Buffers, CUDARows, Room, Store
from translator.model import Seq2Seq

# Room in the buffers at first.
_ROWS = 640
_POSITIONS = 8192

_MOST_PLANS = 128
_BIAS_COLUMNS = 8  # keeps the rows of a matrix aligned


class CUDAEngine:
    """A `Seq2Seq` on an NVIDIA GPU. One thread may use it at a time.

    On another device the same step runs without a graph, which is for tests.
    """

    def __init__(
        self,
        model: Seq2Seq,
        *,
        source_eos_id: int,
        target_eos_id: int,
        forbidden: Sequence[int] = (),
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        """`forbidden` target tokens, such as `<pad>`, get probability 0. The weights are those at the time of this
        call. `dtype`, bfloat16 or float32, is that of the products' factors. Raises `ValueError` for an architecture
        that is beyond it.
        """
        refuse_what_is_beyond("cuda", model.config)
        config, decoder = model.config, model.decoder
        self.eos_id = target_eos_id
        self.vocabulary_size = config.target_vocabulary_size
        self._config = config
        self._source_eos_id = source_eos_id
        self._dtype = dtype
        self._device = device = decoder.output.weight.device
        self._encoder = copy.deepcopy(model.encoder).requires_grad_(False)
        self._encoder.to(torch.float16 if dtype == torch.bfloat16 else dtype)
        layers: list[tuple[Tensor, ...]] = [_layer_weights(layer) for layer in decoder.stack.lstm_layers()]
        self._context_GH = None
        if config.feed_context:
            weight_ih, *others = layers[0]
            self._context_GH = weight_ih[:, config.embedding_size :].to(dtype)
            layers[0] = (weight_ih[:, : config.embedding_size], *others)
        self._weights_GI = [_with_bias(torch.cat(layer[:2], dim=1), layer[2], dtype) for layer in layers]
        self._embedding_VE = decoder.embedding.weight.detach().to(dtype, copy=True)
        self._output_VI = _with_bias(decoder.output.weight.detach(), decoder.output.bias.detach(), dtype)
        self._combine_HI = None
        if decoder.attention is not None:
            self._combine_HI = decoder.attention.combine.weight.detach().to(dtype, copy=True)
        self._bias_inputs = torch.ones((1, _BIAS_COLUMNS), dtype=dtype, device=device)
        self._forbidden = torch.tensor(list(forbidden), dtype=torch.int64, device=device)
        self._side_stream = (
            torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            if device.type == "cuda"
            else None
        )
        self._allocate(self.encode([[]]).store, _ROWS, _POSITIONS)

    @property
    def precision(self) -> str:
        """Number format of the products' factors."""
        return str(self._dtype).removeprefix("torch.")

    def describe(self) -> str:
        device = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else str(self._device)
        return f"cuda, {self.precision}, {device}"

    @torch.inference_mode()
    def encode(self, sources: Sequence[Sequence[int]]) -> CUDARows:
        """One row for each source sentence (token ids in reading order, without `<EOS>`).

        Sentences of equal length run together, so that no padding enters h(x). Raises `ValueError` for a token that is
        not in the vocabulary: the GPU would be of no use any more.
        """
        size = self._config.source_vocabulary_size
        if not all(0 <= token < size for source in sources for token in source):
            raise ValueError(f"a source token is not in the vocabulary of {size} entries")
        order = sorted(range(len(sources)), key=lambda index: len(sources[index]))
        groups = itertools.groupby((list(sources[index]) for index in order), len)
        parts = [self._read(list(group), length) for length, group in groups]
        *states, memory_MH = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        places_R = np.argsort(np.array(order, dtype=np.int64))
        attends = self._combine_HI is not None
        lengths = np.array([len(sources[index]) + 1 if attends else 0 for index in order], dtype=np.int64)
        store = Store(tuple(states), memory_MH, len(sources), len(memory_MH))
        return CUDARows(store, places_R, (lengths.cumsum() - lengths)[places_R], lengths[places_R])

    @torch.inference_mode()
    def step(self, rows: CUDARows, beams: Beams) -> tuple[Extensions, CUDARows]:
        """See `Engine.step`."""
        count, store = len(rows.places_R), rows.store
        shape = Shape.of(beams, int(rows.lengths_R.max(initial=0)))
        self._bring_home(rows, Room(fewest_rows=shape.rows))
        plan = self._plan(shape)
        plan.send(beams, rows.places_R, rows.starts_R, rows.lengths_R)
        self._run(plan)
        drawn_DV = self._log_probabilities(plan, beams.drawn_D)
        extensions = plan.receive(beams, drawn_DV)
        store.used = count
        return extensions, CUDARows(store, np.arange(count, dtype=np.int64), rows.starts_R, rows.lengths_R)

    def take(self, rows: CUDARows, indices: Integers) -> CUDARows:
        """See `Engine.take`. Nothing is copied: the next step reads each state where it stands."""
        return CUDARows(rows.store, rows.places_R[indices], rows.starts_R[indices], rows.lengths_R[indices])

    @torch.inference_mode()
    def append(self, rows: CUDARows, others: CUDARows) -> CUDARows:
        """See `Engine.append`. The states of `others` are written behind those that stand in the buffers."""
        store, added = rows.store, others.store
        self._bring_home(rows, Room(added.used, added.positions))
        self._buffers.write(added, store.used, store.positions)
        appended = CUDARows(
            store,
            np.concatenate([rows.places_R, others.places_R + store.used]),
            np.concatenate([rows.starts_R, others.starts_R + store.positions]),
            np.concatenate([rows.lengths_R, others.lengths_R]),
        )
        store.used += added.used
        store.positions += added.positions
        return appended

    def _read(self, sources: list[list[int]], length: int) -> tuple[Tensor, ...]:
        """The states and the memory of a `Store`, for sentences of one length."""
        source_BS = torch.tensor(sources, dtype=torch.int64, device=self._device).reshape(len(sources), length)
        encoded = self._encoder(source_BS, self._source_eos_id)
        if self._context_GH is None:
            context_BG = torch.empty((len(sources), 0), device=self._device)
        else:
            context_BG = self._product(encoded.context_BO.to(self._dtype), self._context_GH.t())
        memory_BSH = encoded.memory_BSO if self._combine_HI is not None else encoded.memory_BSO[:0, :, :0]
        hidden_BLH, cell_BLH = encoded.state.hidden_LBH.transpose(0, 1), encoded.state.cell_LBH.transpose(0, 1)
        return hidden_BLH.to(self._dtype), cell_BLH.float(), context_BG, memory_BSH.flatten(0, 1).to(self._dtype)

    def _allocate(self, like: Store, rows: int, positions: int) -> None:
        """Make new buffers; the graphs of the old ones go, and with them their pool of memory."""
        self._buffers = Buffers(like, rows, positions)
        self._logits_RV = torch.empty((rows, self.vocabulary_size), device=self._device)
        self._plans: dict[Shape, Plan] = {}
        self._pool = torch.cuda.graph_pool_handle() if self._side_stream is not None else None

    def _bring_home(self, rows: CUDARows, room: Room) -> None:
        """See that the rows stand in the buffers, and that there is room for more."""
        if not self._buffers.bring_home(rows, room):
            needed_rows, needed_positions = room.needed(rows.store)
            # Twice as much, so that this stays rare.
            rows_of_buffers = max(padded_rows(2 * needed_rows), self._buffers.rows)
            self._allocate(rows.store, rows_of_buffers, max(2 * needed_positions, self._buffers.positions))
            self._buffers.bring_home(rows, room)

    def _plan(self, shape: Shape) -> Plan:
        """The plan of a shape; where there are too many, the one not used for longest goes."""
        plan = self._plans.pop(shape, None)
        if plan is None:
            if len(self._plans) == _MOST_PLANS:
                del self._plans[next(iter(self._plans))]
            plan = Plan(shape, self._device)
        self._plans[shape] = plan
        return plan

    def _run(self, plan: Plan) -> None:
        """Make a step. A plan's first one is the warm-up that its graph needs; capturing executes nothing."""
        if self._side_stream is None:
            self._compute(plan)
        elif plan.graph is not None:
            plan.graph.replay()
        else:
            current = torch.cuda.current_stream(self._device)
            self._side_stream.wait_stream(current)
            with torch.cuda.stream(self._side_stream):
                self._compute(plan)
            current.wait_stream(self._side_stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may go on using the GPU meanwhile.
            with torch.cuda.graph(graph, self._pool, self._side_stream, capture_error_mode="thread_local"):
                self._compute(plan)
            plan.graph = graph

    def _compute(self, plan: Plan) -> None:
        """The step itself: from the plan's input and the states in the buffers to its output and the next states, in
        the rows' order. Nothing here may depend on a value.
        """
        rows = plan.shape.rows
        hidden_RLH, cell_RLH, context_RG = (state.index_select(0, plan.places_R) for state in self._buffers.states)
        next_hidden_RLH, next_cell_RLH, next_context_RG = (state[:rows] for state in self._buffers.states)
        next_context_RG.copy_(context_RG)
        bias_inputs = self._bias_inputs.expand(rows, -1)
        inputs = functional.embedding(plan.tokens_R, self._embedding_VE)
        for layer, weight_GI in enumerate(self._weights_GI):
            factors = torch.cat([inputs.to(self._dtype), hidden_RLH[:, layer], bias_inputs], dim=1)
            gates_RG = self._product(factors, weight_GI.t())
            if layer == 0 and self._context_GH is not None:
                gates_RG += context_RG
            outputs_RH, cell_RH = _cell(gates_RG, cell_RLH[:, layer])
            next_hidden_RLH[:, layer] = outputs_RH
            next_cell_RLH[:, layer] = cell_RH
            inputs = outputs_RH + inputs if self._config.residual and layer > 0 else outputs_RH
        if self._combine_HI is not None:
            inputs = self._attend(plan, inputs, self._combine_HI)
        logits_RV = self._logits_RV[:rows]
        self._product(torch.cat([inputs.to(self._dtype), bias_inputs], dim=1), self._output_VI.t(), logits_RV)
        torch.logsumexp(logits_RV, dim=1, out=plan.logsumexp_R)
        logits_RV.index_fill_(1, self._forbidden, -torch.inf)
        plan.select(logits_RV, self.eos_id)

    def _attend(self, plan: Plan, outputs_RH: Tensor, combine_HI: Tensor) -> Tensor:
        """The dot attention over each row's stretch of the memory."""
        offsets_S = torch.arange(plan.shape.source, device=self._device)
        lengths_R1 = plan.lengths_R.unsqueeze(1)
        # Behind its end, a source's last position again: what stands there otherwise may be no number.
        positions_RS = plan.starts_R.unsqueeze(1) + torch.minimum(offsets_S, lengths_R1 - 1)
        memory_RSH = self._buffers.memory_MH[positions_RS]
        scores_RS = self._product(memory_RSH, outputs_RH.to(self._dtype).unsqueeze(2)).squeeze(2)
        weights_RS = scores_RS.masked_fill(offsets_S >= lengths_R1, -torch.inf).softmax(dim=1)
        attended_RH = self._product(weights_RS.to(self._dtype).unsqueeze(1), memory_RSH).squeeze(1)
        factors = torch.cat([attended_RH, outputs_RH], dim=1).to(self._dtype)
        return self._product(factors, combine_HI.t()).tanh_()

    def _log_probabilities(self, plan: Plan, drawn_D: Integers) -> npt.NDArray[np.float32]:
        """The distributions of the step that was just made."""
        if not len(drawn_D):
            return np.empty((0, self.vocabulary_size), dtype=np.float32)
        indices_D = torch.from_numpy(drawn_D).to(self._device)
        drawn_DV = self._logits_RV[indices_D] - plan.logsumexp_R[indices_D].unsqueeze(1)
        log_probabilities: npt.NDArray[np.float32] = drawn_DV.cpu().numpy()
        return log_probabilities

    def _product(self, left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
        """A matrix product, or a batch of them, in float32."""
        multiply = torch.mm if left.dim() == 2 else torch.bmm
        if left.device.type != "cpu" and left.dtype != torch.float32:
            return multiply(left, right, out_dtype=torch.float32, out=out)
        return multiply(left.float(), right.float(), out=out)


def _layer_weights(layer: nn.LSTM) -> tuple[Tensor, ...]:
    """Input weight, recurrent weight and bias, with the gates in the order input, forget, output, candidate."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    parts = [layer.get_parameter(name).detach().chunk(4) for name in names]
    weight_ih, weight_hh, *biases = (torch.cat([part[0], part[1], part[3], part[2]]) for part in parts)
    return weight_ih, weight_hh, biases[0] + biases[1]


def _with_bias(weight_OI: Tensor, bias_O: Tensor, dtype: torch.dtype) -> Tensor:
    """A matrix whose last columns, times ones, are the bias: what its rounding leaves stands in a second column."""
    columns = torch.zeros((len(bias_O), _BIAS_COLUMNS), dtype=dtype, device=bias_O.device)
    columns[:, 0] = bias_O
    columns[:, 1] = bias_O - columns[:, 0].to(bias_O.dtype)
    return torch.cat([weight_OI.to(dtype), columns], dim=1)


def _cell(gates_RG: Tensor, cell_RH: Tensor) -> tuple[Tensor, Tensor]:
    """The LSTM's output and cell state, [rows, hidden], from its gates before their nonlinearities; overwrites them."""
    hidden = cell_RH.shape[1]
    input_gate, forget_gate, output_gate = gates_RG[:, : 3 * hidden].sigmoid_().chunk(3, dim=1)
    candidate = gates_RG[:, 3 * hidden :].tanh_()
    next_RH = torch.addcmul(forget_gate * cell_RH, input_gate, candidate)
    return output_gate * next_RH.tanh(), next_RH

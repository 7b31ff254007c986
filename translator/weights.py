"""Tensors in a file: how weights are stored, and how they are read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from translator.description import ModelDirectoryError
from translator.tensor_header import SCALE_SUFFIX

WeightStorage = Literal["float32", "bfloat16", "int8"]


def stored_tensors(tensors: Mapping[str, Tensor], storage: WeightStorage) -> dict[str, Tensor]:
    """What to write for these tensors.

    "int8" keeps one float32 scale per output row of every matrix (symmetric, largest magnitude at 127).
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        weight = tensor.detach().to("cpu", torch.float32).contiguous()
        if storage == "int8" and weight.dim() == 2:
            scale = weight.abs().amax(dim=1).clamp(min=1e-12) / 127
            stored[name] = torch.round(weight / scale[:, None]).to(torch.int8)
            stored[name + SCALE_SUFFIX] = scale
        elif storage == "bfloat16" and weight.dim() == 2:
            stored[name] = weight.to(torch.bfloat16)
        else:
            stored[name] = weight
    return stored


def write_tensors(file: Path, tensors: Mapping[str, Tensor], storage: WeightStorage) -> None:
    """Raises `OSError` where the disk is full or read-only."""
    try:
        save_file(stored_tensors(tensors, storage), file)
    except SafetensorError as error:  # which says what the system said in its message alone
        raise OSError(f"{file}: {error}") from error


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file that was written with `stored_tensors`, in float32. Raises `ModelDirectoryError`."""
    try:
        stored = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelDirectoryError(
            f"{file}: cannot be read as safetensors ({error}); copy the directory again"
        ) from error
    scales = {name: stored.pop(name) for name in list(stored) if name.endswith(SCALE_SUFFIX)}
    # A copy each: `stored` is the mapped file, and who writes another model over it would end the process by SIGBUS.
    return {
        name: tensor.float() * scales[name + SCALE_SUFFIX][:, None]
        if name + SCALE_SUFFIX in scales
        else tensor.to(torch.float32, copy=True)
        for name, tensor in stored.items()
    }


def assign_weights(model: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    """Put the weights of `file` in the place of a model's, which may be on the device "meta".

    Raises `ModelDirectoryError` where a tensor is missing, superfluous or of another shape.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != found:
        name = next(iter(sorted(expected.items() ^ found.items())))[0]
        raise ModelDirectoryError(
            f"{file}: tensor {name} has shape {found.get(name, 'none')} "
            f"where config.json asks for {expected.get(name, 'none')}"
        )
    model.load_state_dict(weights, assign=True)
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
    model.requires_grad_(False).eval()

"""A model directory from a stranger: it runs no code, leads nowhere, and never ends in anything but one clear error."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from translator.card import CARD_FILE, Card, FileRecord, card_digest
from translator.description import CHECKED_FILES, ModelDirectoryError, read_description
from translator.directory import LoadedModel, load_model
from translator.files import sha256_of
from translator.tensor_header import LARGEST_HEADER, check_header

FILES = [*CHECKED_FILES, CARD_FILE]


@pytest.fixture
def copy(tiny_model_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_directory, tmp_path / "model"))


def seal(path: Path) -> None:
    """Put the checksums of the files as they are into the card, as a stranger can."""
    card = Card.model_validate_json((path / CARD_FILE).read_text(encoding="utf-8"))
    files = {
        name: FileRecord(sha256=sha256_of(path / name), bytes=(path / name).stat().st_size) for name in CHECKED_FILES
    }
    write_card(path, card.model_copy(update={"files": files}))


def write_card(path: Path, card: Card) -> None:
    card = card.model_copy(update={"digest": card_digest(card)})
    (path / CARD_FILE).write_text(card.model_dump_json(), encoding="utf-8")


def refused(path: Path, match: str) -> None:
    """Both ways of reading refuse it, in one line that names a file of it."""
    for read in (read_description, load_model):
        with pytest.raises(ModelDirectoryError, match=match) as error:
            read(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_sealed_copy_is_as_good_as_the_original(copy: Path) -> None:
    seal(copy)
    assert load_model(copy).card.name == "tiny-en-fr"


@pytest.mark.parametrize("name", FILES)
def test_a_link_is_refused_even_to_the_right_content(copy: Path, name: str, tmp_path: Path) -> None:
    (copy / name).rename(tmp_path / "elsewhere")
    (copy / name).symlink_to(tmp_path / "elsewhere")
    refused(copy, rf"{name}: is a link")


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)  # a reader would wait for ever
    refused(copy, rf"{name}: is missing")


def test_the_directory_itself_may_be_a_link(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(copy)
    assert load_model(tmp_path / "current").card.name == "tiny-en-fr"


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret", "pytorch_model.bin"])
def test_a_card_that_records_another_file_is_refused(copy: Path, name: str) -> None:
    card = Card.model_validate_json((copy / CARD_FILE).read_text(encoding="utf-8"))
    write_card(copy, card.model_copy(update={"files": card.files | {name: FileRecord(sha256="0" * 64, bytes=1)}}))
    refused(copy, "which is no file of a model directory")


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._place,)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("write", [pickle.dumps, None], ids=["pickle", "torch.save"])
def test_a_pickle_is_refused_and_not_run(
    copy: Path, name: str, write: Callable[[object], bytes] | None, tmp_path: Path
) -> None:
    trap = Trap(tmp_path / "sprung")
    if write is None:
        torch.save(trap, copy / name)
    else:
        (copy / name).write_bytes(write(trap))
    if name != CARD_FILE:
        seal(copy)
    if name == "README.md":  # nobody reads it
        load_model(copy)
    else:
        refused(copy, name.replace(".", r"\."))
    assert not (tmp_path / "sprung").exists()


def with_header(path: Path, header: object, tensors: bytes = b"") -> None:
    content = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(content)) + content + tensors)
    seal(path)


@pytest.mark.parametrize("length", [LARGEST_HEADER + 1, 2**32, 2**64 - 1])
def test_an_oversize_header_is_refused_unread(copy: Path, length: int) -> None:
    (copy / "model.safetensors").write_bytes(struct.pack("<Q", length) + b"{" + b" " * 1000)
    seal(copy)
    refused(copy, rf"its header says that it has {length:,} bytes")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ([], "no JSON object"),
        ({"a": 5}, "tensor 'a' is not of one of the types"),
        ({"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}, "tensor 'a' is not of one of the types"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "tensor 'a' has no valid shape"),
        ({"a": {"dtype": "F32", "shape": [2**64], "data_offsets": [0, 4]}}, "tensor 'a' has no valid shape"),
        ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, "tensor 'a' has no valid shape"),
        ({"a": {"dtype": "I8", "shape": [2**20, 2**20], "data_offsets": [0, 4]}}, "tensor 'a' is larger than the file"),
    ],
)
def test_a_header_that_lies_is_refused(copy: Path, header: object, message: str) -> None:
    with_header(copy, header, b"\0" * 8)
    refused(copy, message)


def test_scales_must_fit_the_rows_that_they_scale(copy: Path) -> None:
    """Else a small file could ask for any amount of memory by broadcasting."""
    tensors = load_file(copy / "model.safetensors")
    tensors["decoder.output.weight.scale"] = torch.ones(len(tensors["decoder.output.weight"]) + 1)
    save_file(tensors, copy / "model.safetensors")
    seal(copy)
    refused(copy, "is no scale of the rows")


@pytest.mark.parametrize("size", [65_537, 2**40, 2**70])
def test_a_network_that_no_memory_holds_is_refused(copy: Path, size: int) -> None:
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["model"]["hidden_size"] = size
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    seal(copy)
    refused(copy, "wider than 65,536")


def test_a_huge_description_is_refused_unread(copy: Path) -> None:
    with (copy / "config.json").open("ab") as file:
        file.truncate(10 * 1024**3)  # sparse: it takes no room
    refused(copy, r"config\.json: has more than 4,194,304 bytes")


def test_real_headers_pass(tiny_model_directory: Path) -> None:
    check_header(tiny_model_directory / "model.safetensors")


# From here on: fuzzing. `make test-all` makes ten times as many cases as `make test`.


def edits() -> st.SearchStrategy[Callable[[bytes], bytes]]:
    """Ways to spoil a file's bytes, by places that are shares of its length."""
    place = st.floats(0, 1, exclude_max=True)

    def flip(where: float, bits: int) -> Callable[[bytes], bytes]:
        def edit(data: bytes) -> bytes:
            index = int(where * len(data))
            return data[:index] + bytes([data[index] ^ bits]) + data[index + 1 :] if data else data

        return edit

    def cut(start: float, end: float) -> Callable[[bytes], bytes]:
        return lambda data: data[: int(min(start, end) * len(data))] + data[int(max(start, end) * len(data)) :]

    def insert(where: float, what: bytes) -> Callable[[bytes], bytes]:
        return lambda data: data[: int(where * len(data))] + what + data[int(where * len(data)) :]

    def overwrite(where: float, what: bytes) -> Callable[[bytes], bytes]:
        return lambda data: data[: int(where * len(data))] + what + data[int(where * len(data)) + len(what) :]

    return st.one_of(
        st.builds(flip, place, st.integers(1, 255)),
        st.builds(cut, place, place),
        st.builds(insert, place, st.binary(max_size=32)),
        st.builds(overwrite, place | st.just(0.0), st.binary(max_size=32)),
    )


def loads_or_is_refused(path: Path, original: LoadedModel) -> None:
    """The one thing that must hold of every directory, however it came about."""
    try:
        loaded = load_model(path)
    except ModelDirectoryError as error:
        message = str(error)
    else:
        shapes = {name: tensor.shape for name, tensor in loaded.model.state_dict().items()}
        expected = {name: tensor.shape for name, tensor in original.model.state_dict().items()}
        assert shapes == expected or loaded.config != original.config
        loaded.source_vocabulary.encode("Where is the station?")
        return
    assert str(path) in message
    assert "\n" not in message


fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@fuzz
@given(name=st.sampled_from(FILES), edits=st.lists(edits(), min_size=1, max_size=4), sealed=st.booleans())
def test_fuzz_bytes(
    tiny_model_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    edits: list[Callable[[bytes], bytes]],
    sealed: bool,
) -> None:
    path = Path(shutil.copytree(tiny_model_directory, tmp_path_factory.mktemp("fuzz") / "model"))
    data = before = (path / name).read_bytes()
    for edit in edits:
        data = edit(data)
    (path / name).write_bytes(data)
    if sealed and name != CARD_FILE:
        seal(path)
    elif data != before and name != CARD_FILE:
        refused(path, name.replace(".", r"\."))
    loads_or_is_refused(path, load_model(tiny_model_directory))
    shutil.rmtree(path)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([0, 1, 2, 16, 400, -1, "F32", "I8", "dot", [16], [1, 16], [0, 4]]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(document: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a JSON document something can be put in the place of what is there."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [here, *(place for key, value in inner for place in places(value, (*here, key)))]


def replaced(document: Any, place: tuple[Any, ...], value: object) -> Any:
    if not place:
        return value
    inner = dict(document) if isinstance(document, dict) else list(document)
    inner[place[0]] = replaced(document[place[0]], place[1:], value)
    return inner


@fuzz
@given(data=st.data(), name=st.sampled_from(["config.json", CARD_FILE, "model.safetensors"]))
def test_fuzz_values(
    tiny_model_directory: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    """A value somewhere in a JSON document, or in the header of the weights, is another; all checksums are right."""
    path = Path(shutil.copytree(tiny_model_directory, tmp_path_factory.mktemp("fuzz") / "model"))
    content = (path / name).read_bytes()
    is_weights = name == "model.safetensors"
    end = 8 + int.from_bytes(content[:8], "little")
    document = json.loads(content[8:end] if is_weights else content)
    document = replaced(document, data.draw(st.sampled_from(places(document))), data.draw(json_values))
    written = json.dumps(document).encode()
    (path / name).write_bytes(struct.pack("<Q", len(written)) + written + content[end:] if is_weights else written)
    if name != CARD_FILE:
        seal(path)
    else:
        reseal_card(path)
    loads_or_is_refused(path, load_model(tiny_model_directory))
    shutil.rmtree(path)


def reseal_card(path: Path) -> None:
    """Give an edited card its checksum, where it is a card at all."""
    try:
        write_card(path, Card.model_validate_json((path / CARD_FILE).read_text(encoding="utf-8")))
    except ValueError:
        return

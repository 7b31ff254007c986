"""The model directory: exact where it is whole, one clear error where it is not."""

from __future__ import annotations

import errno
import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from translator import description, files
from translator.card import Score
from translator.description import ModelDirectoryError
from translator.directory import LoadedModel, load_model, save_model, update_card
from translator.model import Seq2Seq


@pytest.fixture
def loaded(tiny_model_directory: Path) -> LoadedModel:
    return load_model(tiny_model_directory)


@pytest.fixture
def copy(tiny_model_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_directory, tmp_path / "model"))


def _save(path: Path, loaded: LoadedModel, **changes: object) -> None:
    fields = {
        "model": loaded.model,
        "source_vocabulary": loaded.source_vocabulary,
        "target_vocabulary": loaded.target_vocabulary,
        "card": loaded.card,
    }
    save_model(path, **(fields | changes))  # type: ignore[arg-type]


def test_float32_comes_back_bit_for_bit(loaded: LoadedModel, tmp_path: Path) -> None:
    _save(tmp_path / "m", loaded)
    again = load_model(tmp_path / "m")
    assert again.config == loaded.config
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name
    assert again.card.parameters == loaded.model.parameter_count()
    assert again.card.weight_storage == "float32"


@pytest.mark.parametrize(("storage", "relative"), [("int8", 1 / 254), ("bfloat16", 1 / 256)])
def test_low_precision_stays_within_half_a_step_of_each_row(
    loaded: LoadedModel, tmp_path: Path, storage: str, relative: float
) -> None:
    _save(tmp_path / "m", loaded, storage=storage)
    again = load_model(tmp_path / "m").model.state_dict()
    for name, tensor in loaded.model.state_dict().items():
        largest = tensor.abs().amax(dim=-1, keepdim=True)
        assert ((again[name] - tensor).abs() <= largest * relative * 1.001).all(), name
    assert (tmp_path / "m" / "model.safetensors").stat().st_size < 0.6 * (
        loaded.path / "model.safetensors"
    ).stat().st_size


def test_others_may_read_what_was_written(loaded: LoadedModel, tmp_path: Path) -> None:
    _save(tmp_path / "m", loaded)
    assert {oct(file.stat().st_mode & 0o777) for file in (tmp_path / "m").iterdir()} == {"0o644"}
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o755


def test_a_stored_int8_model_stores_again_unchanged(loaded: LoadedModel, tmp_path: Path) -> None:
    _save(tmp_path / "one", loaded, storage="int8")
    _save(tmp_path / "two", load_model(tmp_path / "one"), storage="int8")
    one, two = (load_model(tmp_path / name).model.state_dict() for name in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], rtol=1e-6, atol=0) for name in one)


def test_a_tied_model_is_tied_again(loaded: LoadedModel, tmp_path: Path) -> None:
    model = Seq2Seq(loaded.config.model_copy(update={"tie_target_embedding": True}))
    model.initialise(seed=1)
    _save(tmp_path / "m", loaded, model=model)
    again = load_model(tmp_path / "m").model
    assert again.decoder.output.weight is again.decoder.embedding.weight
    assert torch.equal(again.decoder.output.weight, model.decoder.output.weight)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "source.model", "target.model", "README.md", "card.json"]
)
@pytest.mark.parametrize("damage", [_truncate, _flip, Path.unlink], ids=["truncated", "altered", "missing"])
def test_damage_to_any_file_is_found_and_the_file_named(copy: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(copy / name)
    with pytest.raises(ModelDirectoryError) as error:
        load_model(copy)
    assert str(copy / name) in str(error.value)
    assert "\n" not in str(error.value)


def _edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_an_edited_card_is_found(copy: Path) -> None:
    _edit_json(copy / "card.json", licence="public domain")
    with pytest.raises(ModelDirectoryError, match=r"card\.json: was altered"):
        load_model(copy)


def test_a_newer_format_says_so(copy: Path) -> None:
    _edit_json(copy / "config.json", format_version=99)
    with pytest.raises(ModelDirectoryError, match=r"format version 99.*newer version"):
        load_model(copy)


def test_foreign_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelDirectoryError, match="no such model directory"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(ModelDirectoryError, match=r"config\.json: is missing; is this a model directory"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(ModelDirectoryError, match="is this a model directory"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(ModelDirectoryError, match="cannot be read as JSON"):
        load_model(tmp_path)


def test_weights_of_another_shape_are_named(copy: Path, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["decoder.output.bias"] = torch.zeros(3)
    save_file(tensors, copy / "model.safetensors")
    monkeypatch.setattr(description, "check_files", lambda path, records, names: None)
    with pytest.raises(ModelDirectoryError, match=r"decoder\.output\.bias has shape \(3,\)"):
        load_model(copy)


@pytest.mark.parametrize("most_bytes", [0, 20_000], ids=["at once", "at the weights"])
def test_a_failed_write_leaves_the_old_model_and_nothing_else(copy: Path, loaded: LoadedModel, most_bytes: int) -> None:
    before = load_model(copy).card
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))  # as on a disk with no more room than that
    try:
        with pytest.raises(OSError, match="File too large"):
            _save(copy, loaded)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_model(copy).card == before
    assert [path.name for path in copy.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("with_system_call", [True, False])
def test_an_old_model_is_exchanged_for_the_new(
    copy: Path, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, with_system_call: bool
) -> None:
    if not with_system_call:
        monkeypatch.setattr(files.ctypes, "CDLL", lambda _: object())
    (copy / "left-over").touch()
    _save(copy, loaded, storage="int8")
    assert load_model(copy).card.weight_storage == "int8"
    assert not (copy / "left-over").exists()
    assert [path.name for path in copy.parent.iterdir()] == ["model"]


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path, loaded: LoadedModel) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(FileExistsError, match="holds something else"):
        _save(tmp_path / "thesis", loaded)
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter1.txt"]


def test_a_card_is_updated_and_readable(copy: Path) -> None:
    before = load_model(copy)
    score = Score(
        test_set="a test",
        metric="BLEU",
        value=41.237,
        signature="nrefs:1",
        beam_size=5,
        length_penalty=0.6,
        precision="int8",
    )
    update_card(copy, before.card.model_copy(update={"scores": [score]}))
    after = load_model(copy)
    assert after.card.score("BLEU") == score
    assert "| a test | BLEU | 41.24 | 5 | 0.6 | int8 | `nrefs:1` |" in (copy / "README.md").read_text(encoding="utf-8")
    weights = before.model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in after.model.state_dict().items())


def test_a_new_card_leaves_all_else_in_the_directory_alone(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine", encoding="utf-8")
    (copy / "notes.txt").chmod(0o600)
    (copy / ".history" / "deep").mkdir(parents=True)
    (copy / ".history" / "deep" / "old").write_text("older", encoding="utf-8")
    update_card(copy, load_model(copy).card.model_copy(update={"name": "renamed"}))
    assert load_model(copy).card.name == "renamed"
    assert (copy / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert (copy / "notes.txt").stat().st_mode & 0o777 == 0o600
    assert (copy / ".history" / "deep" / "old").read_text(encoding="utf-8") == "older"
    assert (copy / ".history").stat().st_mode & 0o111 == 0o111


def test_what_a_link_leads_to_is_written(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(copy)
    update_card(link, load_model(link).card.model_copy(update={"name": "renamed"}))
    assert link.is_symlink()
    assert list(link.parent.iterdir()) == [link]
    assert load_model(copy).card.name == "renamed"
    monkeypatch.chdir(copy)
    update_card(Path(), load_model(Path()).card.model_copy(update={"name": "from within"}))
    assert load_model(copy).card.name == "from within"


def test_what_cannot_be_read_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(file: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(description, "sha256_of", closed)
    with pytest.raises(ModelDirectoryError, match=r"config\.json: cannot be read: Permission denied"):
        load_model(copy)
    with pytest.raises(ModelDirectoryError, match="cannot be read: File name too long"):
        load_model("x" * 5000)

"""`python -m translator` as a real process: bytes in, bytes out, exit status."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from translator import SearchOptions, Translator
from translator.__main__ import main
from translator.engines import ENGINES
from translator.engines.native_library import instruction_sets

COMMAND = [sys.executable, "-m", "translator"]
GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"


def run(
    *arguments: str | Path, stdin: bytes = b"", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        env=os.environ | (environment or {}),
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def translator(tiny_model_directory: Path) -> Translator:
    return Translator.load(tiny_model_directory)


def invoke(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Like `run`, in this process: for what does not depend on real streams."""
    result = CliRunner().invoke(main, [*map(str, arguments)], input=stdin)
    return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout_bytes, result.stderr_bytes)


def assert_one_line_error(result: subprocess.CompletedProcess[bytes], *parts: str) -> None:
    message = result.stderr.decode()
    assert result.returncode == 2, message
    assert "Traceback" not in message
    assert len([line for line in message.splitlines() if line.startswith("Error: ")]) == 1
    for part in parts:
        assert part in message


def test_line_n_translates_line_n_and_line_ends_come_back(tiny_model_directory: Path, translator: Translator) -> None:
    lines = [
        ("Where is the station?", "\n"),
        ("", "\r\n"),
        ("  The train was late. Can you open\u2028the window?\t", "\r\n"),
        ("... 😀", "\n"),
        ("one\rtwo\u0085three\x0cfour", "\n"),
        ("\u00a0", "\n"),
        ("He never answers my letters.", ""),
    ]
    result = run(
        "translate", "--model", tiny_model_directory, stdin="".join(text + end for text, end in lines).encode()
    )
    assert result.returncode == 0
    translations = translator.translate([text for text, _ in lines])
    assert result.stdout.decode() == "".join(
        translation.text + end for translation, (_, end) in zip(translations, lines, strict=True)
    )
    assert result.stdout.count(b"\n") == 6
    assert result.stdout.split(b"\n")[1:4:2] == [b"\r", "... 😀".encode()]


def test_no_input_gives_no_output(tiny_model_directory: Path) -> None:
    result = run("translate", "--model", tiny_model_directory)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_a_byte_order_mark_stays_in_front_and_out_of_the_model(
    tiny_model_directory: Path, translator: Translator
) -> None:
    result = run("translate", "--model", tiny_model_directory, stdin=b"\xef\xbb\xbfCan you open the window?\n")
    assert result.stdout.decode() == "\ufeff" + translator.translate("Can you open the window?").text + "\n"


def test_alternatives_are_an_n_best_list(tiny_model_directory: Path, translator: Translator) -> None:
    lines = ["Where is the station?", "", "Can you open the window?"]
    result = run("translate", "--model", tiny_model_directory, "--alternatives", "2", stdin="\n".join(lines).encode())
    expected = ""
    for number, translation in enumerate(translator.translate(lines, SearchOptions(alternatives=2))):
        expected += f"{number} ||| {translation.text} ||| {translation.score:.6f}\n"
        expected += "".join(f"{number} ||| {other.text} ||| {other.score:.6f}\n" for other in translation.alternatives)
    assert result.stdout.decode() == expected
    assert expected.count("0 |||") == 3


def test_sampling_follows_the_seed(tiny_model_directory: Path) -> None:
    def sampled(seed: int) -> bytes:
        options = ["--sample", "--seed", str(seed), "--top-k", "100", "--temperature", "1.5", "--top-p", "0.9"]
        result = invoke("translate", "--model", tiny_model_directory, *options, stdin=b"The train was late.\n")
        assert result.returncode == 0
        return result.stdout

    assert sampled(1) == sampled(1) != sampled(2)


def test_input_that_is_not_utf8_is_refused_by_its_line(tiny_model_directory: Path) -> None:
    result = run("translate", "--model", tiny_model_directory, stdin=b"good\nbad \xff\n")
    assert_one_line_error(result, "line 2", "byte 5 is 0xFF", "not UTF-8")


def test_a_directory_that_is_no_model_is_refused(tmp_path: Path) -> None:
    assert_one_line_error(invoke("translate", "--model", tmp_path / "none", stdin=b"x\n"), "no such model directory")
    assert_one_line_error(invoke("inspect", tmp_path), "config.json", "is missing")


def test_an_altered_model_is_refused(tiny_model_directory: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_model_directory, tmp_path / "copy")
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert_one_line_error(invoke("inspect", copy), "model.safetensors", "altered")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--beam-size", "0"], "--beam-size: Input should be greater than or equal to 1"),
        (["--beam-size", "x"], "'--beam-size'"),
        (["--length-penalty", "-1"], "--length-penalty:"),
        (["--alternatives", "-1"], "--alternatives:"),
        (["--top-k", "5"], "--top-k needs --sample"),
        (["--sample", "--top-p", "1.5"], "--top-p:"),
        (["--device", "abacus"], "device abacus cannot be used"),
    ],
)
def test_bad_options_are_usage_errors(tiny_model_directory: Path, options: list[str], part: str) -> None:
    result = invoke("translate", "--model", tiny_model_directory, *options, stdin=b"x\n")
    assert_one_line_error(result, part)
    assert result.stdout == b""


@pytest.mark.parametrize("engine", ["reference", "cpu-float32"])
def test_another_engine_says_the_same(engine: str) -> None:
    if engine != "reference" and not instruction_sets():
        pytest.skip("the cpu engine's library is not built")
    source, expected = ((GOLDEN / name).read_bytes() for name in ("source.txt", "target.txt"))
    named = run("translate", "--model", GOLDEN / "model", stdin=source, environment={"ENGINE": engine})
    assert (named.returncode, named.stderr.decode()) == (0, "")
    by_default = invoke("translate", "--model", GOLDEN / "model", stdin=source)
    by_option = invoke("translate", "--model", GOLDEN / "model", "--engine", engine, stdin=source)
    assert named.stdout == by_option.stdout == by_default.stdout == expected


def test_an_engine_that_there_is_not_is_refused(tiny_model_directory: Path) -> None:
    message = "there is no engine nonsense; choose one of auto, reference, cpu"
    result = run("translate", "--model", tiny_model_directory, stdin=b"x\n", environment={"ENGINE": "nonsense"})
    assert_one_line_error(result, message)
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == b""
    option = invoke("translate", "--model", tiny_model_directory, "--engine", "nonsense", stdin=b"x\n")
    assert_one_line_error(option, message)


def test_a_reader_that_leaves_ends_it_quietly(tiny_model_directory: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "translate", "--model", str(tiny_model_directory), "--beam-size", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(b"The train was late.\n" * 10)
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(60) != 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error(tiny_model_directory: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [*COMMAND, "translate", "--model", str(tiny_model_directory)],
            input=b"x\n",
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert_one_line_error(result, "No space left on device")


def test_progress_is_shown_on_a_terminal_only(tiny_model_directory: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_bytes(b"The train was late.\nWhere is the station?\n\n")
    controller, terminal = pty.openpty()
    with source.open("rb") as stdin:
        process = subprocess.run(
            [*COMMAND, "translate", "--model", str(tiny_model_directory)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=terminal,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
            timeout=120,
            check=False,
        )
    os.close(terminal)
    shown = os.read(controller, 65536).decode()
    os.close(controller)
    assert process.returncode == 0
    assert process.stdout.count(b"\n") == 3
    assert "3 lines" in shown
    assert "100%" in shown


def test_inspect_prints_the_card(tiny_model_directory: Path) -> None:
    table = invoke("inspect", tiny_model_directory).stdout.decode()
    for part in ("tiny-en-fr", "en → fr", "Tests only: its weights are random.", "2 layers, 16 cells", "residual"):
        assert part in table
    document = json.loads(invoke("inspect", "--json", tiny_model_directory).stdout)
    assert document["card"]["length_penalty"] == 0.6
    assert document["model"]["num_layers"] == 2


def test_inspect_says_how_it_is_computed_here(
    tiny_model_directory: Path, translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    table = invoke("inspect", tiny_model_directory).stdout.decode()
    for part in (translator.engine.describe(), *ENGINES, *instruction_sets()):
        assert part in table
    document = json.loads(invoke("inspect", "--json", tiny_model_directory).stdout)
    assert document["engine"] == translator.engine.describe()
    monkeypatch.setenv("ENGINE", "reference")
    document = json.loads(invoke("inspect", "--json", tiny_model_directory).stdout)
    assert document["engine"].startswith("reference, float32, cpu")


def test_inspect_where_the_terminal_lacks_characters_or_the_disk_is_full(tiny_model_directory: Path) -> None:
    result = run("inspect", tiny_model_directory, environment={"PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0, result.stderr
    assert b"en ? fr" in result.stdout
    if Path("/dev/full").exists():
        with Path("/dev/full").open("wb") as full:
            command = [*COMMAND, "inspect", str(tiny_model_directory)]
            found = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=120, check=False)
        assert found.returncode == 2
        assert b"No space left on device" in found.stderr
        assert b"Traceback" not in found.stderr


@pytest.mark.parametrize("closed", [0, 1])
def test_a_closed_stream_is_an_error(tiny_model_directory: Path, closed: int) -> None:
    result = subprocess.run(
        [*COMMAND, "translate", "--model", str(tiny_model_directory)],
        preexec_fn=lambda: os.close(closed), stderr=subprocess.PIPE, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert f"standard {'input' if closed == 0 else 'output'} is closed" in result.stderr.decode()


def test_help_does_not_load_the_model_library() -> None:
    code = (
        "import sys, runpy; sys.argv = ['x', '--help']\ntry:\n  runpy.run_module('translator', run_name='__main__')\n"
    )
    code += "finally:\n  assert 'torch' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert b"translate" in result.stdout

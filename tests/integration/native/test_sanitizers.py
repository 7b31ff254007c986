"""The engine's C++ under the compiler's sanitizers: memory and undefined behaviour in the engine's own tests, and data
races among its threads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from translator.engines.native_library import LIBRARY, instruction_sets

REPOSITORY = Path(__file__).parents[3]
CREW = Path(__file__).with_name("crew.cpp")
SECONDS = 1200

# For the instruction set of `argv[1]` and those that lend it a number format, which is quicker than for all.
BUILD = """
import sys
from pathlib import Path

from translator.engines.native import build

names = (sys.argv[1], *build._X86_PARTS.get(sys.argv[1], ((), 0, ()))[2])
build._X86_PARTS = {name: part for name, part in build._X86_PARTS.items() if name in names}
build._FLAGS = [flag.replace("-O3", "-O1") for flag in build._FLAGS]
build.build(Path(sys.argv[2]))
"""

TEST = """
import sys
from pathlib import Path

import pytest

from translator.engines import native_library

native_library.LIBRARY = Path(sys.argv[2])
assert all(name in native_library.LIBRARY.read_bytes() for name in (b"__asan_", b"__ubsan_handle"))
# What a sanitizer says on its way out must not be captured.
status = pytest.main(["-q", "-x", "--capture=sys", "-p", "no:cacheprovider", "tests/unit/test_engines.py"])
assert sys.argv[2] in Path("/proc/self/maps").read_text(), "the tests ran without the sanitized library"
assert sys.argv[1] in native_library.instruction_sets()
sys.exit(status)
"""


def runtime(name: str) -> str:
    """The path of a sanitizer's library, which must be loaded before anything else."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    found = subprocess.run(
        ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        pytest.skip(f"g++ is here without {name}")
    return found


@pytest.mark.slow
@pytest.mark.timeout(SECONDS)
@pytest.mark.skipif(not LIBRARY.is_file(), reason="the engine's library is not built")
def test_the_engine_neither_leaves_its_memory_nor_what_is_defined(tmp_path: Path) -> None:
    preloaded = {
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0",  # Python itself leaves some memory to the end
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "OMP_NUM_THREADS": "1",
    }
    for script, environment in ((BUILD, {"CXX": "g++ -g1 -fsanitize=address,undefined"}), (TEST, preloaded)):
        done = subprocess.run(
            [sys.executable, "-c", script, instruction_sets()[0], str(tmp_path / "libsanitized.so")],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_the_threads_of_the_engine_do_not_race(tmp_path: Path) -> None:
    runtime("libtsan.so")
    program = tmp_path / "crew"
    subprocess.run(
        ["g++", "-std=c++20", "-O1", "-g", "-fsanitize=thread", "-pthread", f"-I{LIBRARY.parent}", CREW, "-o", program],
        check=True,
    )
    done = subprocess.run([program], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.stdout == "in order\n", done.stdout + done.stderr[-4000:]
    assert done.returncode == 0, done.stderr[-4000:]

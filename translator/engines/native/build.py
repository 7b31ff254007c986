"""Compile the engine's shared library: `python translator/engines/native/build.py`.

`network.cpp` is compiled once for each instruction set, for the number formats that gain by it, and the library chooses
among them when it runs, so that one file serves every processor of its architecture. It is plain C to Python (ctypes)
and fits every Python version.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parent
LIBRARY = SOURCES / "libtranslator.so"
_FLAGS = ["-std=c++20", "-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden", "-pthread"]
_AVX2 = ["-mavx2", "-mfma"]
_AVX512 = [*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"]
_INT8, _BFLOAT16, _FLOAT32 = 1, 2, 4
_ALL_FORMATS = _INT8 | _BFLOAT16 | _FLOAT32
# Flags, the number formats that gain by the instruction set, and whose the others are (library.cpp says which).
_X86_PARTS: dict[str, tuple[list[str], int, tuple[str, ...]]] = {
    "avx2": (_AVX2, _ALL_FORMATS, ()),
    "avxvnni": ([*_AVX2, "-mavxvnni"], _INT8, ("avx2",)),
    "avx512": (_AVX512, _ALL_FORMATS, ()),
    "avx512bf16": ([*_AVX512, "-mavx512bf16"], _BFLOAT16, ("avx512",)),
    "amx": ([*_AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-int8"], _INT8, ("avx512bf16", "avx512")),
}


def compiler() -> list[str] | None:
    """The command of a C++ compiler: $CXX, the system's, or the one of the PyPI package `ziglang`."""
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return [name]
    try:
        import ziglang  # noqa: F401
    except ImportError:
        return None
    # Left to itself, zig compiles every part for the processor that it runs on.
    return [sys.executable, "-m", "ziglang", "c++", "-mcpu=baseline"]


def build(library: Path = LIBRARY) -> None:
    """Compile and link, then put the library in its place at once.

    Raises `RuntimeError` where there is no compiler, or where it fails; the message holds what it printed.
    """
    command = compiler()
    if command is None:
        raise RuntimeError("there is no C++ compiler; install one, or the PyPI package ziglang")
    parts: dict[str, tuple[list[str], int, tuple[str, ...]]] = {"portable": ([], _ALL_FORMATS, ())}
    if platform.machine().lower() in ("x86_64", "amd64"):
        parts |= _X86_PARTS
    with tempfile.TemporaryDirectory() as folder:
        objects: dict[str, str] = {}

        def compile_part(name: str) -> None:
            target = str(Path(folder) / f"{name}.o")
            flags, formats, _ = parts[name]
            defined = [f"-DISA={name}", f"-DFORMATS={formats}"]
            try:
                _run([*command, *_FLAGS, *flags, *defined, "-c", str(SOURCES / "network.cpp"), "-o", target])
            except RuntimeError:
                if name == "portable":
                    raise
                return  # a compiler that is older than the instruction set
            objects[name] = target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_part, parts))
        face = str(Path(folder) / "library.o")
        complete = [name for name in objects if objects.keys() >= set(parts[name][2])]
        have = [f"-DHAVE_{name}" for name in complete]
        _run([*command, *_FLAGS, *have, "-c", str(SOURCES / "library.cpp"), "-o", face])
        linked = Path(folder) / library.name
        _run([*command, "-shared", "-s", "-pthread", face, *(objects[name] for name in complete), "-o", str(linked)])
        fresh = library.with_suffix(".new")
        shutil.copyfile(linked, fresh)
        fresh.replace(library)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr.strip()[-4000:]}")


if __name__ == "__main__":
    try:
        build()
    except RuntimeError as error:
        sys.exit(f"Error: {error}")
    print(LIBRARY)

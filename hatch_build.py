"""Compile the CPU engine's library into the wheel.

Without a system compiler the one of the PyPI package `ziglang` is fetched for the build. Where neither works, the
wheel is made without the library, and the program computes with PyTorch alone.
"""

from __future__ import annotations

import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_BUILD = "translator/engines/native/build.py"
_COMPILER_PACKAGE = "ziglang>=0.13"


class NativeLibraryHook(BuildHookInterface):  # type: ignore[type-arg]
    """hatchling's hook of the target "wheel"; an editable installation is one, too."""

    def dependencies(self) -> list[str]:
        """What the build needs beside hatchling."""
        return [] if self._builder()["compiler"]() else [_COMPILER_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as one for this platform and any Python 3."""
        builder = self._builder()
        try:
            builder["build"]()
        except RuntimeError as error:
            self.app.display_warning(f"The CPU engine is left out, and translation will be slow: {error}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        build_data["artifacts"].append("/" + str(builder["LIBRARY"].relative_to(self.root)))

    def _builder(self) -> dict[str, Any]:
        return runpy.run_path(str(Path(self.root) / _BUILD))

"""How one decoder step is computed. `reference` is the truth that the other engines are held to."""

from __future__ import annotations

from translator.engines.base import Beams, Engine, Extensions
from translator.engines.reference import ReferenceEngine

__all__ = ["Beams", "Engine", "Extensions", "ReferenceEngine"]

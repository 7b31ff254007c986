"""A translator whose answers are known: it writes in capitals; and a decoder in this process for it."""

from __future__ import annotations

import os
import re
import string
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from service.decoder import Work
from translator.card import Card, Score
from translator.config import ModelConfig, SearchOptions
from translator.decoder import ContinuousDecoder
from translator.engines import Beams, Engine, Extensions
from translator.engines.selection import best_extensions
from translator.search import Hypothesis, Query, Reading
from translator.segmentation import Segments
from translator.texts import Draft
from translator.ticket import Ticket
from translator.translation import Alternative, SentenceTranslation, Translation, assemble

PATIENCE = 30.0


class CopyingEngine:
    """Says a sentence again. Its vocabulary is the sentences themselves: each is one token, and takes two steps.

    Can be held back in a step, and fails on reading sentences that contain 'fail'. Notes what it read together, and
    what was in the batch at each step.
    """

    eos_id = 0

    def __init__(self) -> None:
        self.sentences = [""]
        self.calls: list[list[str]] = []
        self.steps: list[list[str]] = []
        self.entered = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self._one_thread = threading.Lock()
        self._numbering = threading.Lock()

    @property
    def vocabulary_size(self) -> int:
        return len(self.sentences)

    def number(self, sentence: str) -> int:
        with self._numbering:
            self.sentences.append(sentence)
            return len(self.sentences) - 1

    def encode(self, sources: Sequence[Sequence[int]]) -> list[int]:
        read = [self.sentences[source[0]] for source in sources]
        self.calls.append(read)
        if any("fail" in sentence for sentence in read):
            raise ValueError("the secret text is " + read[0])
        return [source[0] for source in sources]

    def step(self, rows: list[int], beams: Beams) -> tuple[Extensions, list[int]]:
        assert self._one_thread.acquire(blocking=False), "two threads in the engine"
        try:
            self.steps.append([self.sentences[row] for row in rows])
            self.entered.release()
            assert self.may_go_on.wait(PATIENCE)
            scores_RV = torch.full((len(rows), self.vocabulary_size), -torch.inf)
            for index, (row, token) in enumerate(zip(rows, beams.tokens_R.tolist(), strict=True)):
                scores_RV[index, row if token == self.eos_id else self.eos_id] = 0.0
            return best_extensions(scores_RV, beams, self.eos_id), rows
        finally:
            self._one_thread.release()

    def take(self, rows: list[int], indices: Any) -> list[int]:
        return [rows[index] for index in indices.tolist()]

    def append(self, rows: list[int], others: list[int]) -> list[int]:
        return rows + others

    def describe(self) -> str:
        return "capitals, by hand"


class NearDecoder(ContinuousDecoder):
    """Decodes in the thread that calls `step`."""

    def __init__(self, engine: Engine[Any], *, rows: int = 512) -> None:
        super().__init__(engine, max_rows=rows)
        self._begun = (engine, rows)
        self._woken = threading.Event()
        self.closed = False
        self.pid = os.getpid()

    @property
    def work(self) -> Work:
        return Work(self.steps, self.row_steps, self.rows)

    def describe(self) -> str:
        return self._begun[0].describe()

    def step(self) -> list[Ticket]:
        if self.idle:
            self._woken.wait()
        self._woken.clear()
        done = super().step()
        for ticket in done:
            if isinstance(ticket.query, Reading):
                ticket.vector = self.vector(self._begun[0].sentences[ticket.query.source[0]])  # type: ignore[attr-defined]
        return done

    @staticmethod
    def vector(sentence: str) -> Any:
        """A sentence's vector: how often it has each letter."""
        return np.array([sentence.lower().count(letter) for letter in string.ascii_lowercase], dtype=np.float32)

    def wake(self) -> None:
        self._woken.set()

    def restart(self) -> None:
        engine, rows = self._begun
        steps, row_steps = self.steps, self.row_steps
        super().__init__(engine, max_rows=rows)
        self.steps, self.row_steps = steps, row_steps

    def close(self) -> None:
        self.closed = True


class CapitalsTranslator:
    """Translates by writing in capitals; every line that is not blank is a sentence."""

    def __init__(self) -> None:
        self.card = Card(
            name="capitals",
            source_language="en",
            target_language="fr",
            intended_use="tests <b>only</b>.",
            not_for="translating.",
            scores=[Score(test_set="the test set", metric="BLEU", value=12.34, signature="nrefs:1")],
            examples=["Where is the station?", "It's raining."],
        )
        self.model_config = ModelConfig(source_vocabulary_size=10, target_vocabulary_size=10)
        self.engine = CopyingEngine()
        self.calls = self.engine.calls
        self.entered = self.engine.entered
        self.may_go_on = self.engine.may_go_on
        self.options: list[SearchOptions] = []

    def draft(self, text: str, options: SearchOptions) -> Draft:
        self.options.append(options)
        spans = tuple(line.span() for line in re.finditer("[^\n]+", text) if line[0].strip())
        number_of: dict[str, int] = {}
        places = tuple(number_of.setdefault(text[start:end], len(number_of)) for start, end in spans)
        return Draft(
            segments=Segments(text, spans),
            cut={},
            wanted=options.alternatives + 1,
            sentences=tuple(number_of),
            queries=tuple(Query((self.engine.number(sentence),), options) for sentence in number_of),
            places=places,
        )

    def reading(self, text: str) -> Draft:
        query = Reading((self.engine.number(text),), SearchOptions())
        return Draft(Segments(text, ((0, len(text)),)), {}, 1, (text,), (query,), (0,))

    def beginning(self, tokens: Sequence[int]) -> str:
        return "".join(self.engine.sentences[token] for token in tokens).upper()

    def finish(self, draft: Draft, found: Sequence[Sequence[Hypothesis]]) -> Translation:
        said = ["".join(self.engine.sentences[token] for token in best.tokens) for best, *_ in found]
        sentences = []
        for (start, end), place in zip(draft.segments.spans, draft.places, strict=True):
            capitals = said[place].upper()
            others = tuple(Alternative(f"{capitals} {rank}", -1.0 - rank, -2.0) for rank in range(1, draft.wanted))
            warnings = ("unknown: 1 of 3 source tokens are not in the vocabulary",) if "unheard" in said[place] else ()
            sentences.append(SentenceTranslation(start, end, 0, 0, said[place], capitals, -0.5, -0.5, others, warnings))
        return assemble(draft.segments.text, sentences)

"""What the service asks of its two halves: the one that prepares texts, and the one that decodes sentences."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from translator.card import Card
from translator.config import ModelConfig, SearchOptions
from translator.search import Hypothesis, Query
from translator.texts import Draft
from translator.ticket import Ticket
from translator.translation import Translation


def card_identity(card: Card) -> str:
    """Equal for models of the same weights, because a card holds the checksums of all files."""
    return hashlib.sha256(card.model_dump_json().encode()).hexdigest()


class Work(NamedTuple):
    """What a decoder has done since it was made, restarts included."""

    steps: int
    row_steps: int  # hypotheses in the batch, summed over the steps
    rows: int  # hypotheses in the batch now


class TextTranslator(Protocol):
    """Texts to sentences and back; `translator.texts.Texts` is one. Many threads use it at once."""

    card: Card
    model_config: ModelConfig

    def draft(self, text: str, options: SearchOptions, /) -> Draft:
        """Prepare a text for the decoder."""
        ...

    def reading(self, text: str, /) -> Draft:
        """Prepare a text, as one sentence, for its vector."""
        ...

    def beginning(self, tokens: Sequence[int], /) -> str:
        """What a translation says that begins with these tokens, as far as it is certain."""
        ...

    def finish(self, draft: Draft, found: Sequence[Sequence[Hypothesis]], /) -> Translation:
        """The translation, from the hypotheses of each of `draft.queries`."""
        ...


class Decoder(Protocol):
    """Sentences to hypotheses; `service.remote_decoder.RemoteDecoder` is one.

    The decoder thread alone uses it, but for `cancel` and `wake`, which any thread may call.
    """

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        ...

    @property
    def work(self) -> Work:
        """What it has done."""
        ...

    @property
    def pid(self) -> int:
        """The process in which it decodes."""
        ...

    def describe(self) -> str:
        """How decoder steps are computed."""
        ...

    def submit(self, query: Query, *, deadline: float) -> Ticket:
        """Queue a sentence; `deadline` by `time.monotonic`."""
        ...

    def cancel(self, ticket: Ticket) -> None:
        """The sentence leaves soon, and is not among those that `step` returns."""
        ...

    def step(self) -> list[Ticket]:
        """Wait until something is done, or for `wake`; returns the tickets that are done. After an error that it
        raises, the decoder is to be restarted.
        """
        ...

    def grown(self) -> list[Ticket]:
        """The tickets whose `prefix` has become longer in the last step."""
        ...

    def wake(self) -> None:
        """Have the current `step`, or else the next, return soon."""
        ...

    def restart(self) -> None:
        """Begin anew, without the sentences that were in it. Raises where that is not possible any more."""
        ...

    def close(self) -> None:
        """The end."""
        ...

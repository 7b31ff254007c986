"""What the service answers, as schemas: the OpenAPI document is made from them; the tests hold the answers to it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Guess(_Answer):
    """A language that a text may be in."""

    confidence: float = Field(ge=0, le=100, description="Per cent.")
    language: str


class Span(_Answer):
    """Character offsets: from `start` up to, but without, `end`."""

    start: int = Field(ge=0)
    end: int = Field(ge=0)


class SentenceSpans(_Answer):
    """Where a sentence stands in the text and in its translation."""

    source: Span
    target: Span
    score: float


class Piece(_Answer):
    """Some characters of a translation."""

    text: str
    probability: float | None = Field(
        ge=0, le=1, description="By the model, given all before it; null for what the model did not write."
    )


class TranslateAnswer(_Answer):
    """One value each where `q` was a text; lists of them, in the order of the texts, where it was a list."""

    translatedText: str | list[str]  # LibreTranslate's names
    detectedLanguage: Guess | list[Guess] | None = Field(default=None, description="Only with source 'auto'.")
    alternatives: list[str] | list[list[str]] | None = Field(default=None, description="Only where asked for.")
    alternativeScores: list[float] | list[list[float]] | None = Field(
        default=None, description="Of the alternatives; with scores, alternatives and format=text only."
    )
    scores: float | list[float] | None = Field(default=None, description="Only where asked for.")
    sentences: list[SentenceSpans] | list[list[SentenceSpans]] | None = Field(
        default=None, description="Only where asked for."
    )
    probabilities: list[Piece] | list[list[Piece]] | None = Field(
        default=None, description="The pieces of the translation, which joined are the whole. Only where asked for."
    )
    warnings: list[str] | list[list[str]] | None = Field(
        default=None, description="A code, a colon and a sentence each; only where there is something to warn of."
    )


_Two = Annotated[list[float], Field(min_length=2, max_length=2)]


class VectorsAnswer(_Answer):
    """What the encoder makes of sentences, in the order of the texts."""

    coordinates: list[_Two] = Field(description="On the plane of the first two principal components.")
    explained: _Two = Field(description="Their shares of the variance, 0 to 1.")
    vectors: list[list[float]] | None = Field(
        default=None,
        description="h(x): the hidden states of all layers, lowest first, then the cell states. Only where asked for.",
    )


class TrainingPair(_Answer):
    """A pair of sentences that the model was trained on."""

    source: str
    target: str
    similarity: float = Field(ge=-1, le=1, description="Cosine of the angle between the vectors h(x) of the sources.")


class SimilarAnswer(_Answer):
    """The training pairs that are most like a text, the likest first."""

    pairs: list[TrainingPair]


class SentenceEvent(_Answer):
    """An event of a stream: the next sentence of the texts, or the next document where they are HTML.

    A translation is the `separator` and `text` of its sentences one after the other, and then the last one's `rest`.
    """

    index: int = Field(ge=0, description="Which of the texts it is of, from 0 on.")
    separator: str = Field(description="What stands before it, taken over from the source text.")
    text: str = Field(description="Its translation.")
    rest: str = Field(description="What stands behind it, where it is its text's last sentence; else empty.")
    source: Span
    score: float
    warnings: list[str]


class PrefixEvent(_Answer):
    """An event of a stream: what the next sentence's translation is certain to begin with. Each says all of it anew.

    There is none for a sentence with something in it that is protected, nor by way of a third language.
    """

    index: int = Field(ge=0, description="Which of the texts it is of, from 0 on.")
    separator: str = Field(description="What stands before the sentence, taken over from the source text.")
    text: str = Field(description="The beginning of its translation.")


class Language(_Answer):
    code: str
    name: str
    targets: list[str]


class LanguageName(_Answer):
    code: str
    name: str


class FrontendLanguages(_Answer):
    source: LanguageName
    target: LanguageName


class FrontendSettings(_Answer):
    """What a page needs to know, and this server's limits."""

    charLimit: int
    frontendTimeout: int
    apiKeys: bool
    keyRequired: bool
    suggestions: bool
    filesTranslation: bool
    supportedFilesFormat: list[str]
    language: FrontendLanguages
    limits: dict[str, float]


class FileAnswer(_Answer):
    """Where the translated file is, for some minutes."""

    translatedFileUrl: str = Field(description="Absolute address.")
    warnings: list[str] | None = Field(default=None, description="Only where there is something to warn of.")


class DeepLTranslation(_Answer):
    text: str
    detected_source_language: str
    billed_characters: int = Field(ge=0)


class DeepLAnswer(_Answer):
    translations: list[DeepLTranslation]


class DeepLLanguage(_Answer):
    language: str
    name: str
    supports_formality: bool


class Status(_Answer):
    status: str


class ModelMemory(_Answer):
    """Bytes in RAM of the worker that answers, and of all its decoder processes, which hold the weights."""

    workerResidentBytes: int
    decoderResidentBytes: int


class LoadedModel(_Answer):
    pair: str = Field(description="Such as 'en-fr'.")
    name: str
    sha256: str
    engine: str
    decoderResidentBytes: int


class CanaryAnswer(_Answer):
    """A sentence that a new model was tried on."""

    source: str
    before: str | None = Field(description="By the model that ran before, if there was one.")
    after: str


class ModelsChange(_Answer):
    """What a reload or a rollback did."""

    loaded: list[str] = Field(description="Pairs such as 'en-fr' that another model serves from now on.")
    removed: list[str] = Field(description="Pairs that are served no more.")
    canaries: list[CanaryAnswer]
    otherWorkers: int = Field(ge=0, description="Workers that have been told to do the same; the log says how it went.")


class ModelCard(BaseModel):
    """The model's card: what it was trained on, how good it is, what it is not for."""

    name: str
    source_language: str
    target_language: str
    engine: str
    memory: ModelMemory
    serving: list[LoadedModel] = Field(description="The models that are served, one for each pair.")
    previous: list[LoadedModel] = Field(description="Those that a rollback goes back to.")


class ProblemAnswer(BaseModel):
    """Problem details (RFC 9457), and beside them `error`, which LibreTranslate's clients read."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    instance: str = ""
    requestId: str = ""

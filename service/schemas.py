"""Requests: four encodings, one object. Whatever arrives either becomes a checked request or a problem with status
400, 413 or 415.

JSON is taken at its word (a number is not a string, `true` is not a number); forms and query strings know only
strings, so there "3" is a number. `null` counts as absent. Unknown fields are let pass: clients of LibreTranslate
send several of them.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Literal, NoReturn, TypeVar

from flask import Request
from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError, field_validator
from werkzeug.exceptions import RequestEntityTooLarge

from service.languages import AUTO
from service.problems import Problem, bad_request
from service.settings import Settings

_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")

_MOST_TERMS = 100
Term = Annotated[StrictStr, Field(min_length=1, max_length=200, pattern=r"\S")]
LanguageCode = Annotated[StrictStr, Field(min_length=1, max_length=35)]


def without_region(code: str) -> str:
    """'en-GB' and 'EN_us' are 'en'."""
    return code.strip().lower().replace("_", "-").split("-")[0]


def _with_file(schema: dict[str, Any]) -> None:
    schema["properties"]["file"] = {
        "type": "string",
        "contentMediaType": "application/octet-stream",
        "description": "The file; what it is, its name says.",
    }
    schema["required"].insert(0, "file")


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    repeatable: ClassVar[frozenset[str]] = frozenset(["q"])
    """Fields that are lists where a form or a query string has them several times."""


class _PairRequest(_Request):
    """What is translated into what, and which words in their own way."""

    source: LanguageCode = Field(description="Language code, or 'auto'.")
    target: LanguageCode = Field(description="Language code.")
    do_not_translate: list[Term] = Field(
        default=[], max_length=_MOST_TERMS, description="Names and words that are to stay as they are."
    )
    glossary: dict[Term, Term] = Field(
        default={}, max_length=_MOST_TERMS, description="Terms, and how they are to be translated; JSON, in a form."
    )

    @field_validator("source", "target")
    @classmethod
    def _without_region(cls, code: str) -> str:
        return without_region(code)


class TranslateRequest(_PairRequest):
    """`POST /translate`. What depends on the server's settings is checked by `check_limits`."""

    q: StrictStr | list[StrictStr] = Field(description="Text or texts to translate.")
    format: Literal["text", "html"] = Field(default="text", description="html keeps markup as it is.")
    alternatives: int = Field(default=0, ge=0, description="Further hypotheses of the beam, distinct as text.")
    beam_size: int | None = Field(default=None, ge=1, description="None takes the translator's default.")
    length_penalty: float | None = Field(
        default=None, ge=0, le=5, allow_inf_nan=False, description="None takes the model's."
    )
    max_length: int | None = Field(default=None, ge=1, description="Target tokens a sentence may have.")
    scores: bool = Field(default=False, description="Whether to add the scores of translations and alternatives.")
    sentences: bool = Field(default=False, description="Whether to add the spans of every sentence.")
    probabilities: bool = Field(default=False, description="Whether to add how probable each piece of it was.")
    stream: Literal["sentences", "tokens"] = Field(
        default="sentences",
        description="What a stream of events tells: tokens of a sentence, too, once they are certain.",
    )

    @property
    def texts(self) -> list[str]:
        return [self.q] if isinstance(self.q, str) else self.q

    def check_limits(self, settings: Settings) -> None:
        """Raises `Problem` (400) where the request is empty or asks for more than this server gives."""
        check_amount(self.q, settings)
        for name in ("alternatives", "beam_size", "max_length"):
            value, limit = getattr(self, name), getattr(settings, name)
            if value is not None and value > limit:
                raise bad_request(f"{name} may be at most {limit}.")
        for name in ("sentences", "probabilities"):
            if getattr(self, name) and self.format == "html":
                raise bad_request(f"{name} is available with format=text only.")


class DetectRequest(_Request):
    """`POST /detect`."""

    repeatable = frozenset()

    q: StrictStr = Field(description="Text whose language is asked for.")

    def check_limits(self, settings: Settings) -> None:
        """Raises `Problem` (400) where the text is empty or too long."""
        if not self.q:
            raise bad_request("q is empty: send a text.")
        check_texts([self.q], settings)


class _ModelRequest(_Request):
    """What a single model is asked for."""

    source: LanguageCode | None = Field(default=None, description="Language code; None takes the page's.")
    target: LanguageCode | None = Field(
        default=None, description="The language that the model translates into; None takes the page's."
    )

    @field_validator("source", "target")
    @classmethod
    def _without_region(cls, code: str | None) -> str | None:
        return None if code is None else without_region(code)


class VectorsRequest(_ModelRequest):
    """`POST /vectors`."""

    q: StrictStr | list[StrictStr] = Field(description="Text or texts, each of which is read as one sentence.")
    vectors: bool = Field(default=False, description="Whether to add the vectors themselves.")

    @property
    def texts(self) -> list[str]:
        return [self.q] if isinstance(self.q, str) else self.q

    def check_limits(self, settings: Settings) -> None:
        """Raises `Problem` (400) where the request is empty or asks for more than this server gives."""
        check_amount(self.q, settings)


class SimilarRequest(_ModelRequest):
    """`POST /similar`."""

    repeatable = frozenset()

    q: StrictStr = Field(description="Text, which is read as one sentence.")
    count: int = Field(default=3, ge=1, le=20, description="How many pairs.")

    def check_limits(self, settings: Settings) -> None:
        """Raises `Problem` (400) where the text is empty or too long."""
        check_amount(self.q, settings)


class FileRequest(_PairRequest):
    """`POST /translate_file`, beside the file itself."""

    model_config = ConfigDict(json_schema_extra=_with_file)


class DeepLRequest(_Request):
    """`POST /v2/translate`, in DeepL's shape. What else DeepL knows is let pass, but a glossary that is kept there."""

    repeatable = frozenset(["text"])

    text: StrictStr | list[StrictStr] = Field(description="Text or texts to translate.")
    target_lang: LanguageCode = Field(description="Language code, such as 'FR'.")
    source_lang: LanguageCode = Field(default=AUTO, description="Language code; found out where it is not given.")
    tag_handling: Literal["html", "xml"] | None = Field(default=None, description="Keeps markup as it is.")
    glossary_id: StrictStr | None = Field(
        default=None, description="No glossaries are kept here: a request with it fails."
    )

    def as_translation(self) -> TranslateRequest:
        """The same in LibreTranslate's shape. Raises `Problem` (400) for a glossary."""
        if self.glossary_id:
            raise bad_request("glossary_id: no glossaries are kept here; POST /translate takes one with the request.")
        return TranslateRequest(
            q=[self.text] if isinstance(self.text, str) else self.text,
            source=self.source_lang,
            target=self.target_lang,
            format="html" if self.tag_handling else "text",
        )


def check_amount(q: str | list[str], settings: Settings) -> None:
    """Raises `Problem` (400) for nothing, for too many texts, and as `check_texts` does."""
    if not q:
        raise bad_request("q is empty: send a text or a list of texts.")
    texts = [q] if isinstance(q, str) else q
    if len(texts) > settings.texts_per_request:
        raise bad_request(f"q has {len(texts):,} texts; at most {settings.texts_per_request:,} are allowed.")
    check_texts(texts, settings)


def check_texts(texts: list[str], settings: Settings) -> None:
    """Raises `Problem` (400) for a text that is too long, or that no translation could give back faithfully."""
    total = 0
    for text in texts:
        total += len(text)
        if len(text) > settings.characters_per_text:
            raise bad_request(
                f"A text has {len(text):,} characters; at most {settings.characters_per_text:,} are allowed."
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            raise bad_request("A text contains half of a surrogate pair, which is no character.") from None
        if "\0" in text:
            raise bad_request("A text contains the character NUL (U+0000), which is no text.")
    if total > settings.characters_per_request:
        raise bad_request(
            f"The texts have {total:,} characters together; at most {settings.characters_per_request:,} are allowed."
        )


Schema = TypeVar("Schema", bound=_Request)


def check_body(request: Request) -> None:
    """To be called before anything reads a part of the body: gunicorn hands on what came before a connection ended, and
    Werkzeug ends a chunked body at the limit, without a word; half a text must not pass for a whole one.

    Raises:
        Problem: 400 for a body that is not whole, 415 for one that is compressed.
        werkzeug.exceptions.RequestEntityTooLarge: it is over the limit.
    """
    if request.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the body as it is, without a Content-Encoding.")
    received, announced, limit = len(request.get_data()), request.content_length, request.max_content_length
    if announced is None and limit is not None and received >= limit:
        raise RequestEntityTooLarge
    if announced is not None and received < announced:
        raise bad_request(f"The body ended after {received:,} bytes of {announced:,}.")


def read_request(schema: type[Schema], request: Request) -> Schema:
    """The fields of a request, wherever they stand: JSON, form, multipart form, or query string with an empty body.

    Raises:
        Problem: 400 for malformed JSON and for missing or wrong fields, 415 for a content type not understood.
    """
    if request.mimetype in _FORM_TYPES:
        if request.get_data().lstrip().startswith(b"{"):
            raise bad_request("The body is JSON and was sent as a form; add the header Content-Type: application/json.")
        return _validated(schema, _form_fields(request, schema), strict=False)
    body = request.get_data()
    if not body.strip():
        return _validated(schema, _form_fields(request, schema), strict=False)
    if not request.is_json:
        received = f" and not {request.mimetype}" if request.mimetype else ""
        detail = f"Send application/json, application/x-www-form-urlencoded or multipart/form-data{received}."
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
    return _validated(schema, _json_fields(body), strict=True)


def _form_fields(request: Request, schema: type[_Request]) -> dict[str, Any]:
    """The body's fields, and those of the query string that the body does not name. A repeated `q` is a list, and the
    glossary is written as JSON.
    """
    fields: dict[str, Any] = {}
    try:
        sources = (request.args, request.form)
    except UnicodeDecodeError:  # bytes that are not escaped, as no browser sends them
        raise bad_request("The query string is not UTF-8.") from None
    for values in sources:
        for name in schema.model_fields:
            if name == "do_not_translate":
                fields[name] = [term for term in values.getlist(name) if term] or fields.get(name)
            elif name == "glossary" and values.get(name):
                fields[name] = _json_fields(values[name].encode("utf-8", errors="surrogatepass"))
            elif name in schema.repeatable and len(values.getlist(name)) > 1:
                fields[name] = values.getlist(name)
            elif name in values and (name in schema.repeatable or values[name]):
                fields[name] = values[name]
    return fields


def _json_fields(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise bad_request("The JSON is nested too deeply.") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, an integer of thousands of digits
        position = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise bad_request(f"This is not valid JSON{position}.") from None
    if not isinstance(document, dict):
        raise bad_request(
            'This must be a JSON object, the request such as {"q": "Hello.", "source": "en", "target": "fr"}.'
        )
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _validated(schema: type[Schema], fields: dict[str, Any], *, strict: bool) -> Schema:
    present = {name: value for name, value in fields.items() if value is not None}
    try:
        return schema.model_validate(present, strict=strict)
    except ValidationError as error:
        raise bad_request(_sentence(error, schema)) from None


def _sentence(error: ValidationError, schema: type[_Request]) -> str:
    """What is wrong with the first faulty field, in words; the value itself is not repeated."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name = str(fault["loc"][0])
    if fault["type"] == "missing":
        return f"{name} is missing. {schema.model_fields[name].description}"
    if fault["type"] == "string_unicode":
        return f"{name} contains half of a surrogate pair, which is no character."
    if fault["type"] == "string_too_short":
        return f"{name} is empty. {schema.model_fields[name].description}"
    if name in ("q", "text"):
        several = " or a list of strings" if name in schema.repeatable else ""
        return f"{name} must be a string{several}."
    return f"{name}: {fault['msg'].replace('Input s', 's')}."

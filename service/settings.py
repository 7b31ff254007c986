"""The service's settings: read from the environment, checked at the start, stated by `python -m service --print-
settings`.
"""

from __future__ import annotations

import difflib
import os
import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.jobs import Amount
from service.proxies import Network, parse_networks
from service.rates import checked_rate_limit

PREFIX = "TRANSLATE_"
RESERVED_THREADS = 8
"""Threads kept beside those of admitted requests, so that /health, refusals and the page always find one."""


class SettingsError(ValueError):
    """Settings that the service must not start with; the message names the variable and what is wrong."""


class Settings(BaseSettings):
    """All that can be set: field `name` is the variable `TRANSLATE_NAME`. Every limit is on by default."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for every network interface."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    model: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description=(
            "Model directory, or the name of a shipped model; several with commas are an ensemble. Without it, and "
            "without `TRANSLATE_MODELS`, all shipped models are served."
        ),
    )
    models: str = Field(
        default="",
        description="Directory of model directories, a pair of languages each, to serve in the place of the one model.",
    )
    engine: Literal["auto", "reference", "cpu", "cpu-bfloat16", "cpu-float32"] = Field(
        default="auto", description="How decoder steps are computed; auto is the best way on this machine."
    )

    workers: int = Field(default=1, ge=1, le=64, description="Processes, each with its own model, queue and limits.")
    torch_threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Threads that decode in each worker, a batch each; 0 shares the cores out among the workers.",
    )

    characters_per_text: int = Field(
        default=5_000, ge=1, description="Longest text in a request, in Unicode characters."
    )
    texts_per_request: int = Field(default=100, ge=1, description="Longest list of texts in a request.")
    characters_per_request: int = Field(
        default=50_000, ge=1, description="Characters of all texts of a request together."
    )
    body_bytes: int = Field(default=1_048_576, ge=1_024, description="Largest request body, in bytes.")
    alternatives: int = Field(default=10, ge=0, le=200, description="Most alternatives a request may ask for.")
    beam_size: int = Field(default=12, ge=1, le=200, description="Widest beam a request may ask for.")
    max_length: int = Field(
        default=500,
        ge=1,
        le=10_000,
        description="Largest max_length a request may ask for, in target tokens a sentence.",
    )

    concurrent_requests: int = Field(
        default=160, ge=1, le=1_000, description="Requests a worker takes in at once; more are refused with status 503."
    )
    queue_texts: int = Field(default=500, ge=1, description="Texts that may wait for the decoder of a model.")
    queue_characters: int = Field(default=200_000, ge=1, description="Characters that may wait for it.")
    queue_sentences: int = Field(default=4_000, ge=1, description="Sentences that may wait for it.")
    queue_tokens: int = Field(default=100_000, ge=1, description="Source tokens that may wait for it.")
    work_per_request: int = Field(
        default=300_000,
        ge=1,
        description="Source tokens a request may have, each counted as often as its beam is wide.",
    )
    rate_limit: str = Field(
        default="",
        description="Requests a client (an address or a key) may make, such as 60/minute;5000/day; empty: any number.",
    )
    rate_limit_storage: str = Field(
        default="memory://",
        pattern=r"^(memory://$|rediss?://.|unix://.|redis\+unix://.)",
        description="Where they are counted: memory:// (each worker for itself) or redis://HOST:PORT.",
    )
    batch_rows: int = Field(
        default=512,
        ge=1,
        le=100_000,
        description="Hypotheses decoded at once, a sentence having as many as its beam is wide; 1 is one sentence.",
    )
    deadline_seconds: float = Field(
        default=30.0,
        gt=0,
        le=3_600,
        description="Longest wait for a translation, from the request's arrival on; then status 504.",
    )
    transfer_seconds: float = Field(
        default=20.0,
        gt=0,
        le=3_600,
        description="Time a client has beside the deadline to send its request and to read the answer.",
    )

    api_keys: str = Field(
        default="",
        description="File of API keys, made by python -m service create-key; without it no key is needed.",
    )
    cors_origins: str = Field(
        default="",
        description="Origins whose pages may use the service from a browser, separated by commas; * for all.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses or networks, separated by commas, whose X-Forwarded-For and -Proto are believed.",
    )

    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, JSON lines elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe messages that are logged."
    )

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: str) -> str:
        for origin in _items(value):
            if origin != "*" and not re.fullmatch(r"https?://[^/*\s]+", origin):
                raise ValueError(f"{origin!r} is no origin such as https://example.org")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _check_rate_limit(cls, value: str) -> str:
        return checked_rate_limit(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: str) -> str:
        parse_networks(value)
        return value

    @model_validator(mode="after")
    def _check_limits_agree(self) -> Self:
        """Without these, a request within its limits could never be admitted."""
        for smaller, larger in (
            ("characters_per_text", "characters_per_request"),
            ("characters_per_request", "queue_characters"),
            ("texts_per_request", "queue_texts"),
        ):
            if getattr(self, smaller) > getattr(self, larger):
                raise ValueError(
                    f"{PREFIX}{larger.upper()} ({getattr(self, larger)}) must be at least "
                    f"{PREFIX}{smaller.upper()} ({getattr(self, smaller)})"
                )
        return self

    @property
    def allowed_origins(self) -> list[str]:
        return _items(self.cors_origins)

    @property
    def queue_bounds(self) -> Amount:
        return Amount(self.queue_texts, self.queue_characters, self.queue_sentences, self.queue_tokens)

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        return parse_networks(self.trusted_proxies)

    @property
    def request_threads(self) -> int:
        """Threads of a worker: one for each admitted request and some in reserve."""
        return self.concurrent_requests + RESERVED_THREADS

    @property
    def connection_seconds(self) -> float:
        """How long one request may hold a thread, from its first byte to the last byte of its answer."""
        return self.deadline_seconds + self.transfer_seconds

    def decoding_threads(self) -> int:
        """Threads that decode for one worker: as set, else OMP_NUM_THREADS, else this worker's share of the cores."""
        if self.torch_threads:
            return self.torch_threads
        if os.environ.get("OMP_NUM_THREADS", "").isdecimal():
            return max(1, int(os.environ["OMP_NUM_THREADS"]))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self.workers)

    def describe(self) -> str:
        """Every setting as a commented line of an environment file."""
        lines = []
        for name, field in type(self).model_fields.items():
            lines += [
                f"# {field.description} (default: {_stated(field.default)})",
                f"{PREFIX}{name.upper()}={'' if (value := getattr(self, name)) is None else value}",
            ]
        return "\n".join(lines)


def settings_table() -> str:
    """Every setting as a row of a Markdown table, for the README."""
    rows = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `{PREFIX}{name.upper()}` | {_stated(field.default)} | {field.description} |")
    return "\n".join(rows)


def _stated(default: object) -> object:
    return "none" if default in ("", None) else default


def _items(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def load_settings(overrides: dict[str, Any]) -> Settings:
    """The settings of the environment, with `overrides` (from the command line) in the place of those they name.

    Raises:
        SettingsError: a value is out of its range, or a variable with our prefix is none of the settings.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX) and variable not in known:
            nearest = difflib.get_close_matches(variable, known, n=1)
            raise SettingsError(
                f"{variable}: there is no such setting" + (f"; did you mean {nearest[0]}?" if nearest else "")
            )
    try:
        return Settings(**overrides)
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False):
            name = str(fault["loc"][0]) if fault["loc"] else ""
            message = fault["msg"].removeprefix("Value error, ")
            faults.append(f"{PREFIX}{name.upper()}={fault['input']}: {message}" if name else message)
        raise SettingsError("; ".join(faults)) from None

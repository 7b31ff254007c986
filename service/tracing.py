"""W3C trace context (https://www.w3.org/TR/trace-context/) of every request, and OpenTelemetry where it is asked for.

Without OpenTelemetry the header `traceparent` is read, a span's id is made for the request, and both stand in the log
and in the answer. With OTEL_EXPORTER_OTLP_ENDPOINT set, a span for each request is sent there as well.
"""

from __future__ import annotations

import os
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def random_id(bits: int) -> str:
    """Hexadecimal digits that nobody else is likely to have. No secret: it costs no system call."""
    return f"{random.getrandbits(bits):0{bits // 4}x}"


@dataclass(frozen=True)
class TraceContext:
    """Where a request stands in a trace; the ids in hexadecimal digits."""

    trace_id: str
    span_id: str
    flags: str

    @classmethod
    def of(cls, header: str) -> TraceContext:
        """A span for a request with this header `traceparent`; a trace of its own where that is missing or invalid."""
        found = _TRACEPARENT.fullmatch(header.strip())
        if found is None or (found[1] == "00" and found[5]):
            return cls(random_id(128), random_id(64), "00")
        return cls(found[2], random_id(64), f"{int(found[4], 16) & 1:02x}")

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


class Tracing:
    """Makes the spans of requests, and sends them if the environment says where to."""

    def __init__(self) -> None:
        """Raises `ValueError` where spans are to be sent and OpenTelemetry is not installed. Call it after the fork:
        a thread is started that sends them.
        """
        self._tracer: Tracer | None = _tracer() if os.environ.get(ENDPOINT_VARIABLE) else None

    def begin(self, traceparent: str) -> tuple[TraceContext, Span | None]:
        """The context of a request with this header, and its span where it is sent."""
        if self._tracer is None:
            return TraceContext.of(traceparent), None
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
        span = self._tracer.start_span("request", context=parent, kind=SpanKind.SERVER)
        ids = span.get_span_context()
        return TraceContext(f"{ids.trace_id:032x}", f"{ids.span_id:016x}", f"{int(ids.trace_flags):02x}"), span

    @staticmethod
    def end(span: Span, *, method: str, route: str, status: int) -> None:
        """The request is answered. Addresses and query strings are left out: they may hold the text."""
        from opentelemetry.trace import StatusCode

        span.update_name(f"{method} {route}")
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end()


def _tracer() -> Tracer:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ValueError(
            f"{ENDPOINT_VARIABLE} is set, and OpenTelemetry is not installed: "
            "pip install 'seq2seq-translator[telemetry]', or unset it"
        ) from None
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "seq2seq-translator")})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("service")

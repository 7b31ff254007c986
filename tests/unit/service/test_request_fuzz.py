"""Requests that nobody would write: whatever is sent, the answer is one that the OpenAPI document names.

`make test` makes 100 cases of each property, `make test-all` 1,000.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.openapi import OPERATIONS
from service.schemas import DeepLRequest, DetectRequest, FileRequest, TranslateRequest

SCHEMAS = {
    "/translate": TranslateRequest,
    "/detect": DetectRequest,
    "/translate_file": FileRequest,
    "/v2/translate": DeepLRequest,
}
DOCUMENTED = {operation.path: {200, *operation.problems} for operation in OPERATIONS if operation.method == "post"}
fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def check(client: FlaskClient, path: str, **request: Any) -> int:
    response = client.post(path, **request)
    assert response.status_code in DOCUMENTED[path] - {500}, response.text
    if response.status_code != 200:
        assert response.mimetype == "application/problem+json"
        problem = json.loads(response.data)
        assert problem["status"] == response.status_code
        assert problem["detail"] == problem["error"] != ""
    return response.status_code


paths = st.sampled_from(sorted(SCHEMAS))
names = st.sampled_from(
    sorted({name for schema in SCHEMAS.values() for name in schema.model_fields} | {"file", "api_key", "preserve"})
)
# The translator of these tests fails on purpose where a text holds "fail".
texts = st.text(max_size=40).filter(lambda text: "fail" not in text)
known = st.sampled_from(
    ["en", "fr", "auto", "EN-gb", "text", "html", "xml", "true", "3", "1e9", "-1", "", "\ud800", "\0"]
)
numbers = st.integers() | st.floats()
scalars = st.none() | st.booleans() | numbers | texts | known
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
documents = st.dictionaries(names, values, max_size=8)
# Those in which one or two fields alone are odd come further in.
nearly = st.builds(
    lambda odd: {"q": "a", "text": "a", "source": "en", "target": "fr", "target_lang": "FR", **odd},
    st.dictionaries(names, values, max_size=2),
)
content_types = st.sampled_from(
    [
        "application/json",
        "application/json; charset=utf-16",
        "application/problem+json",
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=latin-1",
        "multipart/form-data; boundary=b",
        "multipart/form-data",
        'multipart/form-data; boundary=""',
        "text/plain",
        "",
    ]
) | st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)


@fuzz
@given(path=paths, body=st.binary(max_size=300), content_type=content_types, query=st.binary(max_size=60))
def test_random_bytes(client: FlaskClient, path: str, body: bytes, content_type: str, query: bytes) -> None:
    check(client, path, data=body, content_type=content_type, query_string=quote_from_bytes(query, safe="&=%+;?/"))


@fuzz
@given(path=paths, document=documents | nearly, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_random_json(
    client: FlaskClient, path: str, document: dict[str, object], indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    check(client, path, data=body, content_type="application/json")


@fuzz
@given(path=paths, document=nearly, place=st.integers(0, 2_000), bits=st.integers(1, 255), cut=st.booleans())
def test_json_with_a_wrong_byte(
    client: FlaskClient, path: str, document: dict[str, object], place: int, bits: int, cut: bool
) -> None:
    body = bytearray(json.dumps(document).encode())
    place %= len(body)
    body[place] ^= bits
    if b"fail" not in body:
        check(client, path, data=bytes(body[:place] if cut else body), content_type="application/json")


fields = st.lists(st.tuples(names, texts | known), max_size=8).map(
    lambda pairs: [(name, value.encode(errors="surrogatepass")) for name, value in pairs]
)
pair = [("source", b"en"), ("target", b"fr"), ("target_lang", b"fr")]


@fuzz
@given(path=paths, odd=fields, complete=st.booleans(), in_query=st.booleans(), junk=st.binary(max_size=10))
def test_random_forms_and_query_strings(
    client: FlaskClient, path: str, odd: list[tuple[str, bytes]], complete: bool, in_query: bool, junk: bytes
) -> None:
    encoded = "&".join(f"{name}={quote_from_bytes(value)}" for name, value in [*(pair if complete else []), *odd])
    encoded += quote_from_bytes(junk, safe="&=%+;?/")
    if in_query:
        check(client, path, query_string=encoded)
    else:
        check(client, path, data=encoded.encode(), content_type="application/x-www-form-urlencoded")


@fuzz
@given(
    path=paths,
    odd=fields,
    file=st.binary(max_size=80).filter(lambda content: b"fail" not in content),
    name=st.text(max_size=12),
    ending=st.sampled_from([".txt", ".md", ".srt", ".html", ".docx", ".exe", ""]),
    place=st.none() | st.integers(0, 2_000),
)
def test_random_multipart_forms(
    client: FlaskClient, path: str, odd: list[tuple[str, bytes]], file: bytes, name: str, ending: str, place: int | None
) -> None:
    """With a wrong byte somewhere, too."""
    parts = [(f'name="{field}"'.encode(), value) for field, value in [*pair, *odd]]
    parts.append((f'name="file"; filename="{name}{ending}"'.encode(), file))
    body = bytearray(
        b"".join(
            b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + value + b"\r\n" for head, value in parts
        )
        + b"--b--\r\n"
    )
    if place is not None:
        body[place % len(body)] ^= 0x15
    if b"fail" not in body:
        check(client, path, data=bytes(body), content_type="multipart/form-data; boundary=b")


header_values = st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=30)


@fuzz
@given(
    path=paths,
    headers=st.dictionaries(
        st.sampled_from(
            [
                *("X-Request-Timeout", "X-Request-ID", "traceparent", "Accept", "Content-Encoding", "Authorization"),
                *("Origin", "Host", "Range", "If-None-Match", "Content-Language", "Cookie", "X-Forwarded-For"),
            ]
        ),
        header_values | st.sampled_from(["0.5", "1e3", "text/event-stream", "*/*;q=x", "gzip", "identity"]),
        max_size=4,
    ),
)
def test_random_headers(client: FlaskClient, path: str, headers: dict[str, str]) -> None:
    document = {"q": "a", "text": "a", "source": "en", "target": "fr", "target_lang": "FR"}
    check(client, path, json=document, headers=headers)


@pytest.mark.parametrize("path", sorted(SCHEMAS))
def test_a_good_request_is_no_victim(client: FlaskClient, path: str) -> None:
    """Else all of the above would hold of a service that refuses everything."""
    document = {"q": "a", "text": "a", "source": "en", "target": "fr", "target_lang": "FR"}
    assert check(client, path, json=document) == (400 if path == "/translate_file" else 200)

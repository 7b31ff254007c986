"""Rate limits as people write them: '60/minute;5000/day'."""

from __future__ import annotations

from limits import parse_many


def checked_rate_limit(value: str) -> str:
    """Raises `ValueError` where it is not empty and no rate limit."""
    if value:
        try:
            parse_many(value)
        except ValueError:
            raise ValueError(f"{value!r} is no rate limit such as '60/minute' or '10/second;1000/day'") from None
    return value

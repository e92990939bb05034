"""Addresses of heartbeats: what may be added to them."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit, urlunsplit


def with_query(url: str, **parameters: str) -> str:
    """Return an address with further parameters in its query; those that it has stay."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(parameters))))
    return urlunsplit(parts._replace(query=query))

"""URLs of shared storage; apart from tables/objects.py, which takes time to import."""

import re
from typing import Final

from tables.address import is_host, split_url

_BUCKET: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")


def check_url(url: str) -> None:
    """Check that a URL names a place for objects.

    Raises:
      ValueError: It does not; the text says what is wrong, without the URL.
    """
    parts = split_url(url)
    if parts is None or parts.scheme not in {"file", "s3"}:
        raise ValueError("must be file:///path or s3://bucket/prefix")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must hold a place alone: credentials are AWS_* variables")
    if parts.scheme == "file" and (parts.netloc or len(parts.path) < 2):
        raise ValueError("must be file:/// and an absolute path")
    if parts.scheme == "s3" and not _BUCKET.fullmatch(parts.netloc):
        raise ValueError("must name a bucket after s3://, without a port")


def check_endpoint(url: str) -> None:
    """Check that a URL names a server for ``s3://``.

    Raises:
      ValueError: It does not; the text says what is wrong, without the URL.
    """
    parts = split_url(url)
    if (
        parts is None
        or parts.scheme not in {"http", "https"}
        or not is_host(parts.hostname)
        or any(mark in url for mark in "@?# ")
    ):
        raise ValueError(
            "must be http://HOST:PORT or https://HOST with a port from 1 to 65535, "
            "without credentials: those are AWS_* variables"
        )

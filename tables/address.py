"""Hosts, ports and URLs as settings name them.

What is no address may be a password at the wrong place, so nothing here quotes it.
"""

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

PORT_MAX: Final = 65_535
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]+")


def is_host(text: str | None) -> bool:
    """Return whether a text is a host's name or its number, without brackets."""
    return bool(text and (_NAME.fullmatch(text) or _IPV6.fullmatch(text)))


def are_addresses(text: str) -> bool:
    """Return whether a text is ``host:port``, or several of them with commas."""
    return all(map(_is_address, text.split(",")))


def _is_address(text: str) -> bool:
    host, _colon, port = text.partition(":")
    numbered = port.isascii() and port.isdigit() and len(port) <= len(str(PORT_MAX))
    return bool(_NAME.fullmatch(host)) and numbered and 1 <= int(port) <= PORT_MAX


def split_url(url: str) -> SplitResult | None:
    """Return the parts of a URL; None where it is none, or its port cannot be."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    # Line ends and the like would be left out without a word, and port 0 be another.
    return parts if url.isprintable() and port != 0 else None

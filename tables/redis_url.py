"""URLs of Redis; apart from tables/redis_client.py, which takes time to import.

    redis://[user:password@]host:port/db
    rediss://[user:password@]host:port/db[?ssl_ca_certs=FILE&ssl_cert_reqs=required]
    unix://[user:password@]/path[?db=0&username=user&password=word]

Other parameters are refused: redis-py hands them to its own classes, which fail at the
first call, pass over them, or change what our client relies on.
"""

from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from tables.address import is_host, split_url
from tables.certificates import holds_certificates

PARAMETERS: Final = {
    "redis": frozenset[str](),
    "rediss": frozenset({"ssl_ca_certs", "ssl_cert_reqs"}),
    "unix": frozenset({"db", "username", "password"}),
}
"""Scheme -> the parameters that a URL of it may have."""
CERT_REQS: Final = ("required", "optional", "none")
DATABASE_DIGITS_MAX: Final = 9
_SHAPE: Final = (
    "must be redis://host:port/db, rediss://... or unix:///path, or several of them "
    "with commas; in a password write what is special as %23 for #"
)


def check_urls(text: str) -> None:
    """Check that a text is a URL, or several with commas, for `RedisClients`.

    Raises:
      ValueError: As `check_url`.
    """
    for url in text.split(","):
        check_url(url)


def check_url(url: str) -> None:
    """Check that a text is a URL that `RedisClient` takes.

    Raises:
      ValueError: It is none; the text says what is wrong, without the URL.
    """
    parts = split_url(url)
    # After a # in a password, what stands before it would be the host.
    if parts is None or "#" in url or not _leads_somewhere(url, parts):
        raise ValueError(_SHAPE)
    _check_parameters(parts)


def place_of(url: str) -> str:
    """Return where a URL leads, without its credentials."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    return f"{parts.hostname}:{parts.port or 6379}"


def _leads_somewhere(url: str, parts: SplitResult) -> bool:
    # redis-py knows schemes in small letters alone.
    if parts.scheme not in PARAMETERS or not url.startswith(f"{parts.scheme}://"):
        return False
    if parts.scheme == "unix":
        return bool(parts.path) and not parts.netloc.rpartition("@")[2]
    database = parts.path.removeprefix("/")
    # What is no number would be database 0 without a word.
    return is_host(parts.hostname) and (not database or _is_database(database))


def _is_database(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= DATABASE_DIGITS_MAX


def _check_parameters(parts: SplitResult) -> None:
    if not parts.query:
        return
    allowed = PARAMETERS[parts.scheme]
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise ValueError(_SHAPE) from None
    found = dict(pairs)
    if len(found) < len(pairs) or not found.keys() <= allowed:
        known = ", ".join(sorted(allowed)) or "none"
        raise ValueError(
            f"may have these parameters after a {parts.scheme}:// address, each once: "
            f"{known}"
        )
    if not _is_database(found.get("db", "0")):
        raise ValueError("must have a number as db")
    if found.get("ssl_cert_reqs", "required") not in CERT_REQS:
        raise ValueError(f"must have one of {', '.join(CERT_REQS)} as ssl_cert_reqs")
    if "ssl_ca_certs" in found and not holds_certificates(found["ssl_ca_certs"]):
        raise ValueError(
            "must name a file of certificates (PEM) that can be read as ssl_ca_certs"
        )

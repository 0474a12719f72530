"""URLs of shared storage; apart from tables/objects.py, which takes time to import."""

from urllib.parse import urlsplit


def check_url(url: str) -> None:
    """Check that a URL names a place for objects.

    Raises:
      ValueError: It does not; the text says what is wrong, without the URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"file", "s3"}:
        raise ValueError("must begin with file:/// or s3://")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must hold a place alone: credentials are AWS_* variables")
    if parts.scheme == "file" and (parts.netloc or len(parts.path) < 2):
        raise ValueError("must be file:/// and an absolute path")
    if parts.scheme == "s3" and not parts.netloc:
        raise ValueError("must name a bucket")

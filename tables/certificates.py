"""Files of certificates."""

import ssl


def holds_certificates(path: str) -> bool:
    """Return whether a file can be read and holds certificates (PEM) of signers."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError:
        return False
    return True

"""The master key: seals what the log may carry but nobody may read.

An org's HS256 secret must be recovered to verify a token, so it cannot be hashed; it is
sealed with AES-256-GCM under the key file ``D/master.key`` (mode 0600). A sealed value
is base64url of version byte, 12-byte nonce, ciphertext and 16-byte tag, bound to the
org and the name it was sealed for: it opens nowhere else.
"""

import base64
import binascii
import os
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rules.errors import PlauditError

_VERSION = b"\x01"
_NONCE_BYTES = 12
_KEY_BYTES = 32


class SecretUnreadable(PlauditError):
    """A sealed value does not open. Put the `master.key` back that sealed it."""


class SecretBox:
    """Seals and opens small secrets; safe for threads."""

    def __init__(self, key: bytes) -> None:
        """Hold a key.

        Args:
          key: 32 random bytes.

        Raises:
          SecretUnreadable: The key has another length.
        """
        if len(key) != _KEY_BYTES:
            raise SecretUnreadable(f"a master key has {_KEY_BYTES} bytes")
        self._cipher = AESGCM(key)

    @classmethod
    def create_file(cls, path: Path) -> Self:
        """Draw a new key and keep it in a file that only its owner may read.

        Raises:
          FileExistsError: There is one already; a key is never overwritten.
        """
        key = AESGCM.generate_key(_KEY_BYTES * 8)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(key.hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return cls(key)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read the key that `create_file` wrote.

        Raises:
          SecretUnreadable: The file does not hold a key.
        """
        try:
            key = bytes.fromhex(path.read_text("ascii"))
        except ValueError as error:
            raise SecretUnreadable(f"{path} does not hold a master key") from error
        return cls(key)

    def seal(self, secret: bytes, *, org: str, name: str) -> str:
        """Return a secret sealed for one org and name, as base64url text."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, secret, _bound_to(org, name))
        return base64.urlsafe_b64encode(_VERSION + nonce + sealed).decode()

    def open(self, sealed: str, *, org: str, name: str) -> bytes:
        """Return what `seal` sealed for the same org and name.

        Raises:
          SecretUnreadable: Torn, forged, or sealed under another key, org or name.
        """
        try:
            data = base64.b64decode(sealed.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise SecretUnreadable("a sealed value is not base64url") from error
        head = len(_VERSION) + _NONCE_BYTES
        if data[:1] != _VERSION or len(data) <= head:
            raise SecretUnreadable("a sealed value has an unknown format")
        nonce = data[len(_VERSION) : head]
        try:
            return self._cipher.decrypt(nonce, data[head:], _bound_to(org, name))
        except InvalidTag as error:
            raise SecretUnreadable("a sealed value does not open here") from error


def _bound_to(org: str, name: str) -> bytes:
    return f"{org}\0{name}".encode()

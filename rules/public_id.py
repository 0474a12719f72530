"""Ids as callers see them: ``camp_123e4567-e89b-12d3-a456-426614174000``."""


def public_id(prefix: str, digest: str) -> str:
    """Return the public form of an id.

    Args:
      prefix: What it names: ``camp``, ``rule``, ``seg``, ``txn`` ...
      digest: 32 hex digits of `IdSpace.new_id`.
    """
    parts = (digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:])
    return f"{prefix}_{'-'.join(parts)}"

"""What the disk refuses, as what stops a worker."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tables.errors import StoreFailed


@contextmanager
def using(folder: Path, remedy: str) -> Iterator[None]:
    """Do something in a folder.

    Args:
      folder: Named in the message.
      remedy: What the operator is to do, a sentence without its end.

    Raises:
      StoreFailed: The disk is full or refuses.
    """
    try:
        yield
    except OSError as error:
        raise StoreFailed(f"cannot use {folder}: {error.strerror}. {remedy}") from error

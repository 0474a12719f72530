"""Loading one file: hash, resume, send, settle, sum up."""

import io
import secrets
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from plaudit.credentials import Credentials
from plaudit.errors import Failure, Unusable
from plaudit.loading.client import Client, positions_text
from plaudit.loading.folding import wait_until_folded
from plaudit.loading.manifest import (
    RUNS_MAX,
    Manifest,
    ManifestFile,
    Run,
    file_hash,
)
from plaudit.loading.mapping import Mapping
from plaudit.loading.progress import Progress
from plaudit.loading.refusals import RefusedFile
from plaudit.loading.rows import Row, Rows, open_rows
from plaudit.loading.window import Sender, take_window

SETTLE_EVERY_S: Final = 6 * 3_600
"""A batch is asked about well within the 24 hours for which it is counted."""


class Summary(msgspec.Struct, rename="camel", kw_only=True):
    """What a load came to.

    Attributes:
      rows: Rows of the file.
      accepted: Rows that counted: the engine applied them.
      duplicate: Rows whose id had counted before, in this file or earlier.
      too_late: Rows older than the org's late horizon: kept, earning nothing.
      refused: Rows that were refused; `refused_file` says why.
      unknown: Rows stored by a run that ended more than 24 hours before it was
        continued; they were folded, but nobody knows any more as what.
      seconds: Time spent sending.
      already_loaded: An earlier run had finished: nothing was sent now.
    """

    file: str
    org_id: str
    rows: int
    accepted: int
    duplicate: int
    too_late: int
    refused: int
    unknown: int
    refused_file: str | None
    seconds: float
    rows_per_second: float
    already_loaded: bool


def load_file(
    path: Path,
    mapping: Mapping,
    credentials: Credentials,
    folder: Path,
    *,
    again: bool,
) -> Summary:
    """Send a file once, from where an earlier run left off, and wait for the result.

    Args:
      path: The file.
      mapping: What its columns mean.
      credentials: Where the API is, and the key to use.
      folder: Where manifests and refused rows are kept, ``D/loads``; made if missing.
      again: Send the whole file once more, whatever was sent before.

    Raises:
      Unusable: The file cannot be read like this.
      Failure: The API does not answer, or another process loads the same file.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("rb") as file:
        size = max(path.stat().st_size, 1)
        hashing = Progress("reading", "bytes")
        sha256 = file_hash(file, lambda done: hashing.show(done, min(done / size, 1.0)))
        hashing.end()
        kept = ManifestFile(folder, sha256, credentials.org_id)
        with kept.locked():
            manifest = None if again else kept.read()
            if manifest is None:
                manifest = Manifest(
                    file=path.name,
                    sha256=sha256,
                    org=credentials.org_id,
                    mapping=mapping,
                )
            _check_mapping(manifest, mapping)
            already = manifest.state == "complete"
            if manifest.state == "sending":
                rows = open_rows(path, file, mapping, sha256)
                _Loading(kept, manifest, credentials).send(rows, file, size)
            if manifest.state == "sent":
                _settle(kept, manifest, credentials)
                manifest.state = "complete"
                kept.write(manifest)
    return summary_of(manifest, kept.refused, already_loaded=already)


def summary_of(
    manifest: Manifest, refused_file: Path, *, already_loaded: bool
) -> Summary:
    """Return what a finished load came to.

    Rows that were sent twice, because nobody knew whether they were stored, count once:
    what was accepted and is nothing else was a duplicate.
    """
    fates = manifest.fates
    others = fates.applied + fates.too_late + fates.refused + fates.unknown
    seconds = manifest.seconds
    return Summary(
        file=manifest.file,
        org_id=manifest.org,
        rows=manifest.rows,
        accepted=fates.applied,
        duplicate=max(manifest.accepted - others, 0),
        too_late=fates.too_late,
        refused=manifest.refused + fates.refused,
        unknown=fates.unknown,
        refused_file=str(refused_file) if manifest.refused else None,
        seconds=round(seconds, 3),
        rows_per_second=round(manifest.rows / seconds, 1) if seconds else 0.0,
        already_loaded=already_loaded,
    )


def _check_mapping(manifest: Manifest, mapping: Mapping) -> None:
    if manifest.mapping != mapping:
        raise Unusable(
            f"this file was sent as {manifest.file} with other columns or another "
            "action. Give the same ones to go on, or --again to send it once more: "
            "what the others earned stays"
        )


class _Loading:
    """One process's part in a load."""

    def __init__(
        self, kept: ManifestFile, manifest: Manifest, credentials: Credentials
    ) -> None:
        self._kept = kept
        self._manifest = manifest
        self._credentials = credentials
        self._seconds_before = manifest.seconds
        self._run_began = 0.0

    def send(self, rows: Rows, file: io.BufferedReader, size: int) -> None:
        """Send all rows that are not stored yet; the state becomes ``sent``."""
        manifest = self._manifest
        began = time.monotonic()
        progress = Progress("sending", "rows")
        unsent = _skip(iter(rows), manifest.rows)
        run = self._new_run()
        sender = Sender(self._credentials)
        refused = RefusedFile(self._kept.refused, rows.heading, manifest.refused_bytes)
        try:
            with refused:
                window = take_window(unsent)
                while window:
                    sender.start(window, run.batch_id)
                    share = min(file.tell() / size, 1.0)
                    # The next window is read while this one is on its way.
                    following = take_window(unsent)
                    self._stored(sender, window, run, refused)
                    manifest.seconds = self._seconds_before + time.monotonic() - began
                    self._kept.write(manifest)
                    progress.show(manifest.rows, share)
                    window = following
                    if time.monotonic() - self._run_began > SETTLE_EVERY_S:
                        _settle(self._kept, manifest, self._credentials)
                        run = self._new_run()
        finally:
            progress.end()
            sender.close()
        progress.show(manifest.rows, 1.0, last=True)
        manifest.state = "sent"
        self._kept.write(manifest)

    def _stored(
        self, sender: Sender, window: list[Row], run: Run, refused: RefusedFile
    ) -> None:
        """Wait for a window and note what became of it."""
        manifest = self._manifest
        sent = sender.finish()
        refused.append(sent.refused)
        manifest.rows = window[-1].number
        manifest.accepted += sent.accepted
        run.accepted += sent.accepted
        manifest.refused += len(sent.refused)
        manifest.refused_bytes = refused.length
        for place, offset in sent.positions.items():
            manifest.positions[place] = max(manifest.positions.get(place, -1), offset)

    def _new_run(self) -> Run:
        manifest = self._manifest
        if len(manifest.runs) >= RUNS_MAX:
            raise Failure("interrupted too often; use --again")
        run = Run(f"load_{manifest.sha256[:16]}_{secrets.token_hex(6)}")
        manifest.runs.append(run)
        self._run_began = time.monotonic()
        self._kept.write(manifest)
        return run


def _skip(rows: Iterator[Row], count: int) -> Iterator[Row]:
    """Return rows without the first ones."""
    return islice(rows, count, None)


def _settle(kept: ManifestFile, manifest: Manifest, credentials: Credentials) -> None:
    """Ask what became of every run, once all of it is folded."""
    client = Client(credentials, threading.Event())
    positions = positions_text(manifest.positions)
    fates = manifest.fates
    try:
        wait_until_folded(client, manifest.positions)
        for run in list(manifest.runs):
            tally = client.tally(run.batch_id, positions)
            if tally is None:
                fates.unknown += run.accepted
            else:
                fates.applied += tally.applied
                fates.too_late += tally.too_late
                fates.refused += tally.refused
            manifest.runs.remove(run)
            kept.write(manifest)
    finally:
        client.close()

"""How far a long job is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import Final, TextIO

BAR_CHARS: Final = 24
BAR_EVERY_S: Final = 0.2
LINE_EVERY_S: Final = 10.0


class Progress:
    """Shows a job's share, rate and remaining time on stderr."""

    def __init__(self, label: str, unit: str, stream: TextIO = sys.stderr) -> None:
        """Begin a job.

        Args:
          label: What is done, e.g. ``sending``.
          unit: What is counted, e.g. ``rows``.
          stream: Where to show it.
        """
        self._label = label
        self._unit = unit
        self._stream = stream
        self._bar = stream.isatty()
        self._start = time.monotonic()
        self._shown = self._start
        self._first: tuple[int, float] | None = None
        self._width = 0

    def show(self, count: int, share: float, *, last: bool = False) -> None:
        """Show where the job stands, unless that was shown a moment ago.

        Args:
          count: Units done so far, those of an earlier run included.
          share: Part of the job that is done, 0..1.
          last: The job is done: show it whatever was shown.
        """
        now = time.monotonic()
        if self._first is None:
            self._first = (count, share)
        if not last and now - self._shown < (
            BAR_EVERY_S if self._bar else LINE_EVERY_S
        ):
            return
        self._shown = now
        text = self._line(count, share, now - self._start)
        if self._bar:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        if last:
            self.end()
        self._stream.flush()

    def end(self) -> None:
        """Leave the bar's line, if one is shown."""
        if self._bar and self._width:
            self._stream.write("\n")
            self._width = 0

    def _line(self, count: int, share: float, seconds: float) -> str:
        first_count, first_share = self._first or (0, 0.0)
        rate = (count - first_count) / seconds if seconds > 0 else 0.0
        gained = share - first_share
        left = seconds * (1 - share) / gained if gained > 0 else None
        filled = int(share * BAR_CHARS)
        bar = "#" * filled + "." * (BAR_CHARS - filled)
        eta = "" if left is None or share >= 1 else f", {_duration(left)} left"
        return (
            f"{self._label} [{bar}] {share:4.0%}  {count:,} {self._unit}, "
            f"{rate:,.0f}/s{eta}"
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds) + 1, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

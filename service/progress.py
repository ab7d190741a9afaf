"""The progress bar of a run."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from service.pace import Pace
from service.terminal import duration, money


class RunProgress:
    """Station-days done of those planned, picks, rate, cost so far and time left.

    cost: of the run until now, in $; None where no price is known.
    """

    def __init__(
        self,
        console: Console,
        planned: int,
        already: int,
        candidates: int,
        pace: Pace,
        cost: Callable[[], float | None],
    ) -> None:
        unit = "station-days" if candidates == 1 else f"station-days x {candidates}"
        self._bar = Progress(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[picks]} picks"),
            _Pace(pace, cost),
            console=console,
            expand=True,
        )
        self._task = self._bar.add_task("", total=planned, completed=already, picks="0")

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def did(self, station_days: int, picks: int) -> None:
        """picks: of this invocation until now."""
        self._bar.update(self._task, advance=station_days, picks=_short(picks))


def _short(count: int) -> str:
    """So that all fits into 80 columns."""
    return f"{count:,}" if count < 100_000 else f"{count / 1e6:,.1f}M"


class _Pace(ProgressColumn):
    """`1,234/h $0.12 12 min left`."""

    max_refresh = 0.5

    def __init__(self, pace: Pace, cost: Callable[[], float | None]) -> None:
        super().__init__()
        self._pace, self._cost = pace, cost

    def render(self, task: Task) -> Text:
        rate, cost = self._pace.per_hour(), self._cost()
        parts = [f"{rate:,.0f}/h"] if rate else []
        if cost is not None:
            parts.append(money(cost))
        if rate and task.remaining:
            parts.append(f"{duration(task.remaining / rate)} left")
        return Text(" ".join(parts) or "starting", no_wrap=True)

"""What the terminal shows, and how it is told to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any

import psutil
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from maskmatch_med.jobs.inside import Inside
from maskmatch_med.study.checking.finding import Finding

CONSOLE = Console()
_ENOUGH_TO_ESTIMATE = 0.01
_STYLES = {"error": "red", "warning": "yellow", "note": ""}


def process_start() -> float:
    """``time.monotonic()`` at the moment this process began, so that imports count as wall time."""
    return time.monotonic() - max(0.0, time.time() - psutil.Process().create_time())


def print_rows(title: str, rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> None:
    """Print a table of text."""
    table = Table(title=title, title_justify="left", show_header=bool(header), header_style="bold")
    for index in range(len(header or rows[0]) if header or rows else 0):
        table.add_column(header[index] if header else "", style="cyan" if index == 0 else None, overflow="fold")
    for row in rows:
        table.add_row(*row)
    CONSOLE.print(table)


def print_findings(title: str, findings: Sequence[Finding]) -> None:
    """Print what a check found; many findings with one remedy take one row."""
    if not findings:
        CONSOLE.print(f"{title}: nothing found", highlight=False, markup=False, soft_wrap=True)
        return
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind, finding.todo), []).append(finding)
    table = Table(title=title, title_justify="left", header_style="bold")
    for head in ("", "about", "what was found", "what to do"):
        table.add_column(head, overflow="fold")
    for (severity, kind, todo), group in groups.items():
        shown = [finding.message for finding in group[: 3 if len(group) > 4 else 4]]
        if len(group) > len(shown):
            names = [finding.case or "" for finding in group[len(shown) :]]
            more = ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
            shown.append(f"and {len(names)} more: {more}")
        table.add_row(severity, kind, escape("\n".join(shown)), escape(todo), style=_STYLES[severity])
    CONSOLE.print(table)
    counts = [(sum(f.severity == name for f in findings), name) for name in _STYLES]
    CONSOLE.print(", ".join(f"{n} {name}{'' if n == 1 else 's'}" for n, name in counts), highlight=False)


class ProgressBar:
    """One bar for work that counts; call it with (done, total, name).

    Args:
        what: what is done.
        counted: what is counted, for the rate; no rate is shown without it.
    """

    def __init__(self, what: str, counted: str | None = "scans") -> None:
        self._bar = _bar()
        self._task = self._bar.add_task(what, total=None, note="", visible=False)
        self._what, self._counted, self._job = what, counted, Inside.here()
        self._began = time.monotonic()

    def __enter__(self) -> Callable[[int, int, str], None]:
        self._bar.start()
        self._began = time.monotonic()
        return self.update

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, done: int, total: int, name: str) -> None:
        """Show how far the work is."""
        rate = 60 * done / max(time.monotonic() - self._began, 1e-3)
        told = f"{rate:,.{0 if rate >= 10 else 1}f} {self._counted} a minute  " if done and self._counted else ""
        self._bar.update(self._task, completed=done, total=total, note=told + name, visible=True)
        self._job.tell({"event": "count", "what": self._what, "done": done, "total": total, "name": name})


class TrainingDisplay:
    """The live view of a training run: rate, time left, losses, confident share, validation Dice."""

    def __init__(self) -> None:
        self._bar = _bar()
        self._tasks: dict[str, TaskID] = {}
        self._job = Inside.here()
        self._validation = ""
        self._first: tuple[int, float, float] | None = None

    def __enter__(self) -> Callable[[dict[str, Any]], None]:
        self._bar.start()
        return self.report

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def report(self, event: dict[str, Any]) -> None:
        """Show one event of a run."""
        self._job.tell(event)
        kind = event["event"]
        if kind == "notice":
            self._bar.console.print(event["text"])
        elif kind == "prepare":
            self._advance("Preparing scans", event["done"], event["total"], event["case"])
        elif kind == "train":
            self._advance("Training", round(1000 * event["progress"]), 1000, self._training_note(event))
        elif kind == "validate":
            self._validation = f"  validation Dice {event['val_dice']:.3f}"
            self._bar.console.print(f"iteration {event['iteration']}:{self._validation}")
        elif kind == "finish":
            self._advance("Training", 1000, 1000, f"{event['iterations']} iterations{self._validation}")

    def _advance(self, what: str, done: int, total: int, note: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total, note="")
        self._bar.update(self._tasks[what], completed=done, total=total, note=note)

    def _training_note(self, event: dict[str, Any]) -> str:
        iteration, seconds, progress = event["iteration"], event["seconds"], event["progress"]
        first_iteration, first_seconds, first_progress = self._first = self._first or (iteration, seconds, progress)
        done, share = max(seconds - first_seconds, 1e-6), progress - first_progress
        rate = (iteration - first_iteration) / done
        left = f"  {done * (1 - progress) / share / 60:.1f} min left" if share > _ENOUGH_TO_ESTIMATE else ""
        losses = "  ".join(f"{key[5:]} {value:.3f}" for key, value in event.items() if key.startswith("loss_"))
        confident = f"  confident {event['confident']:.0%}" if "confident" in event else ""
        return f"{rate:.1f} it/s{left}  {losses}{confident}{self._validation}"


class StopOnSignal:
    """Turns the first Ctrl-C or SIGTERM, or a job's request, into a request to stop; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self._asked = False
        self._job = Inside.here()
        self._old: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def requested(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked or self._job.stop_asked()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True


def _bar() -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=CONSOLE,
    )

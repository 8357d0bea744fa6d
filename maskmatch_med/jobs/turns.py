"""Whose turn it is on this machine: the studies of one user work one after another, a job at a time.

Each runner draws a ticket before a job and gives it back after it, so that a study with many jobs lets the others in
between. A ticket is a file in the user's state folder that names the runner and the command; it counts as long as one
of the two lives. The numbers are drawn under a lock, so that nobody can come in before those who wait already.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from maskmatch_med.errors import StudyError
from maskmatch_med.io.atomic import write_text
from maskmatch_med.jobs.processes import Identity
from maskmatch_med.study import FolderLock

_STARTING_S = 10.0


@dataclass(frozen=True)
class Ticket:
    """One study that works or waits.

    Args:
        path: its file; the name is its number.
        study: the study's folder.
        processes: its runner and its command.
    """

    path: Path
    study: Path
    processes: tuple[Identity, ...]

    def alive(self) -> bool:
        """Whether a process of it lives."""
        return any(process.alive() for process in self.processes)


class Turns:
    """The tickets of this machine.

    Args:
        folder: where they lie; in the user's state folder by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_folder() / "turns"
        self._lock = FolderLock(self.folder / ".lock", "drawing a ticket")

    def draw(self, study: Path, process: Identity) -> Ticket | None:
        """Take a ticket; a study that has one keeps its place.

        Returns:
            None where the state folder may not be written: then nobody waits.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock.held(_STARTING_S):
                known = self.tickets()
                own = next((ticket for ticket in known if ticket.study == study), None)
                number = max((int(ticket.path.stem) for ticket in known), default=0) + 1
                path = self.folder / f"{number:08d}.json" if own is None else own.path
                others = () if own is None else own.processes
                return self.keep(Ticket(path, study, others), process)
        except (OSError, StudyError):
            return None

    def keep(self, ticket: Ticket, process: Identity) -> Ticket:
        """Add a process to those that keep a ticket alive."""
        living = tuple(known for known in ticket.processes if known != process and known.alive())
        written = Ticket(ticket.path, ticket.study, (*living, process))
        pairs = [[known.pid, known.create_time] for known in written.processes]
        write_text(ticket.path, json.dumps({"study": str(ticket.study), "processes": pairs}) + "\n")
        return written

    def tickets(self) -> list[Ticket]:
        """The living tickets in the order of their turns."""
        found = (_read(path) for path in sorted(self.folder.glob("[0-9]*.json")))
        return [ticket for ticket in found if ticket is not None and ticket.alive()]

    def before(self, study: Path) -> Ticket | None:
        """The ticket that a study waits for; None where it is its turn, or it has no ticket."""
        known = self.tickets()
        waits = any(ticket.study == study for ticket in known)
        return known[0] if waits and known[0].study != study else None

    def give_back(self, ticket: Ticket) -> None:
        """Let the next one work; tickets that the dead have left go too."""
        with suppress(OSError):
            ticket.path.unlink(missing_ok=True)
            for path in self.folder.glob("[0-9]*.json"):
                left = _read(path)
                if left is not None and not left.alive():
                    path.unlink(missing_ok=True)


def this_process() -> Identity:
    """That of the caller."""
    return Identity(os.getpid(), psutil.Process().create_time())


def state_folder() -> Path:
    """Where this user's programs keep what is neither a setting nor data: ``…/maskmatch``."""
    home = Path("~").expanduser()
    if named := os.environ.get("XDG_STATE_HOME"):
        base = Path(named)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = home / ".local" / "state"
    return base / "maskmatch"


def _read(path: Path) -> Ticket | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        processes = tuple(Identity(int(pid), float(began)) for pid, began in record["processes"])
        return Ticket(path, Path(record["study"]), processes)
    except (OSError, ValueError, KeyError, TypeError):
        return None

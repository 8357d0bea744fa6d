"""Studies of one machine work in turns: nobody comes in before those who wait, and the dead are not waited for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from maskmatch_med.jobs.processes import Identity
from maskmatch_med.jobs.turns import Turns, state_folder, this_process

A, B, C = Path("/studies/a"), Path("/studies/b"), Path("/studies/c")


@pytest.fixture
def turns(tmp_path: Path) -> Turns:
    return Turns(tmp_path / "turns")


def test_the_first_works_and_the_others_follow_in_order(turns):
    first, second, third = (turns.draw(study, this_process()) for study in (A, B, C))
    assert turns.before(A) is None
    assert turns.before(B).study == A
    assert turns.before(C).study == A
    turns.give_back(first)
    assert turns.before(B) is None
    assert turns.before(C).study == B
    again = turns.draw(A, this_process())
    turns.give_back(second)
    assert turns.before(C) is None
    assert turns.before(A).study == C
    turns.give_back(third)
    turns.give_back(again)
    assert turns.tickets() == []


def test_a_study_keeps_its_place_while_its_command_lives(turns):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as command:
        alive = Identity(command.pid, psutil.Process(command.pid).create_time())
        dead = Identity(command.pid, alive.create_time - 1000)
        ticket = turns.keep(turns.draw(A, dead), alive)
        assert ticket.processes == (alive,)
        turns.draw(B, this_process())
        assert turns.before(B).study == A
        assert turns.draw(A, this_process()).path == ticket.path
        turns.give_back(turns.draw(A, this_process()))
        lost = turns.draw(A, alive)
        assert turns.before(A).study == B
        command.communicate(b"\n")
    assert not lost.alive()
    assert [found.study for found in turns.tickets()] == [B]


def test_a_damaged_ticket_and_a_closed_folder_hold_nobody_up(turns, tmp_path):
    turns.draw(A, this_process())
    (turns.folder / "00000000.json").write_text("{")
    assert turns.before(A) is None
    (tmp_path / "file").write_text("")
    closed = Turns(tmp_path / "file" / "turns")
    assert closed.draw(A, this_process()) is None
    assert closed.before(A) is None


def test_the_state_folder_is_the_users_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "maskmatch"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert state_folder().name == "maskmatch"

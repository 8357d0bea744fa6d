"""The state to resume from: whole or not at all, and never executed."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from maskmatch_med.errors import StudyError
from maskmatch_med.training.checkpoint import Checkpoint


def state(iteration: int = 7) -> Checkpoint:
    torch.manual_seed(iteration)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.Conv2d(3, 2, 1))
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1)
    network(torch.rand(1, 1, 8, 8)).sum().backward()
    optimiser.step()
    counts = torch.rand(4, 2, 2, 3, dtype=torch.float64)
    return Checkpoint(
        iteration=iteration,
        elapsed=12.25,
        first_elapsed=1.5,
        student=network.state_dict(),
        teacher={name: value * 2 for name, value in network.state_dict().items()},
        optimiser=optimiser.state_dict(),
        scale_counts=counts,
        data="abc",
    )


def test_round_trip(tmp_path):
    saved = state()
    saved.save(tmp_path / "state.pt")
    loaded = Checkpoint.load(tmp_path / "state.pt")
    assert (loaded.iteration, loaded.elapsed, loaded.first_elapsed) == (7, 12.25, 1.5)
    for part in ("student", "teacher"):
        found, expected = getattr(loaded, part), getattr(saved, part)
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert torch.equal(loaded.scale_counts, saved.scale_counts)
    assert loaded.scale_counts.dtype == torch.float64
    assert loaded.data == "abc"
    assert loaded.optimiser["param_groups"] == saved.optimiser["param_groups"]
    moments = zip(loaded.optimiser["state"].values(), saved.optimiser["state"].values(), strict=True)
    assert all(torch.equal(a["exp_avg_sq"], b["exp_avg_sq"]) for a, b in moments)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for at in range(64, 160):
        content[at] ^= 0xFF
    path.write_bytes(bytes(content))


def _empty_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")


DAMAGES = {
    "cut short": _cut,
    "bytes flipped": _flip,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a state\n"),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "random": lambda path: path.write_bytes(bytes(range(256)) * 20),
    "empty archive": _empty_archive,
    "a list": lambda path: torch.save([1, 2], path),
    "other fields": lambda path: torch.save({"iteration": 3, "weights": {}}, path),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, damage):
    path = tmp_path / "state.pt"
    state().save(path)
    DAMAGES[damage](path)
    with pytest.raises(StudyError) as caught:
        Checkpoint.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "delete it" in message
    assert "\n" not in message


class _Attack:
    """Unpickling this would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_nothing_in_it_is_executed(tmp_path, writer):
    path, proof = tmp_path / "state.pt", tmp_path / "executed"
    content = {"iteration": _Attack(proof)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(StudyError, match=r"state\.pt"):
        Checkpoint.load(path)
    assert not proof.exists()
    pickle.loads(pickle.dumps(_Attack(proof)))
    assert proof.exists(), "the attack itself does not work, so the test shows nothing"


def test_a_failure_in_the_middle_keeps_the_old_state(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    state(7).save(path)
    old = path.read_bytes()

    def half(content, stream):
        stream.write(b"PK half a state")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="No space"):
        state(8).save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    state(9).save(path)
    assert Checkpoint.load(path).iteration == 9

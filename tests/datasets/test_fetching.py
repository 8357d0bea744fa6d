"""Archives come from a real server: whole, after breaks, through proxies; what is wrong is refused and not kept."""

from __future__ import annotations

import errno
import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from maskmatch_med.datasets import DATASETS, fetch, find_dataset
from maskmatch_med.datasets.download import Remote, download
from maskmatch_med.errors import DiskFullError, InputError
from maskmatch_med.study import ImportOptions, import_scans
from maskmatch_med.study.options import Splits

Usage = namedtuple("Usage", "total used free")
AT_ONCE = (0.0, 0.0)


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_comes_whole_with_its_licence_and_can_be_imported(shop, dataset, decathlon_folder, tmp_path):
    told: list[tuple[int, int, str]] = []
    got = fetch(dataset, tmp_path, shop.address, lambda *step: told.append(step))

    assert got.new
    expected = {name: kept for name, kept in content_of(decathlon_folder).items() if "._" not in name}
    found = content_of(got.folder)
    assert {name: found[name] for name in expected} == expected
    assert set(found) - set(expected) == {"ORIGIN.txt", "splits.json"}
    origin = (got.folder / "ORIGIN.txt").read_text()
    cited = ("arxiv.org/abs/1902.09063", "10.1038/s41467-022-30695-9")
    assert [words for words in ("CC BY-SA 4.0", *cited, shop.address, dataset.md5) if words not in origin] == []
    assert [path.name for path in tmp_path.iterdir()] == [dataset.task]
    assert max(done for done, total, _ in told) == len(shop.content)
    assert told[-1][0] == told[-1][1]

    splits = Splits.load(got.splits)
    assert (len(splits.label_order), len(splits.test)) == (6, 1)
    summary = import_scans(got.folder, tmp_path / "study", ImportOptions(splits=got.splits, labelled=2, link=True))
    assert (len(summary.added), len(summary.labelled), summary.left_out) == (6, 2, splits.test)
    assert summary.layout == "MSD"


def test_a_second_call_asks_nobody_and_changes_nothing(shop, dataset, tmp_path):
    first = fetch(dataset, tmp_path, shop.address)
    before = content_of(tmp_path)
    second = fetch(dataset, tmp_path, shop.address)
    assert (first.new, second.new, len(shop.asked)) == (True, False, 1)
    assert content_of(tmp_path) == before


def test_the_splits_owe_nothing_to_the_order_of_the_list(dataset, shop, decathlon_folder, tmp_path):
    got = fetch(dataset, tmp_path, shop.address)
    splits = json.loads(got.splits.read_text())
    assert splits["label_order"] != sorted(splits["label_order"])
    again = Path(shutil.copytree(decathlon_folder, tmp_path / "again"))
    content = json.loads((again / "dataset.json").read_text())
    (again / "dataset.json").write_text(json.dumps(content | {"training": content["training"][::-1]}))
    from maskmatch_med.datasets.parts import write_splits

    assert write_splits(again).read_bytes() == got.splits.read_bytes()


def test_it_goes_on_where_the_connection_broke(shop, dataset, tmp_path):
    shop.cuts = [20_000, 10_000]
    got = fetch(dataset, tmp_path, shop.address, waits_s=(0.0,))
    assert shop.asked == ["", "bytes=20000-", "bytes=30000-"]
    assert got.new


def test_what_came_is_kept_where_no_try_helps_and_the_next_call_goes_on(shop, dataset, tmp_path):
    shop.cuts = [20_000, 0, 0]
    with pytest.raises(InputError, match=r"ended at byte 20000 of \d+; 0.0 MB are kept, and the same command goes on"):
        fetch(dataset, tmp_path, shop.address, waits_s=AT_ONCE)
    assert (tmp_path / f"{dataset.task}.tar.part").stat().st_size == 20_000
    assert not (tmp_path / dataset.task).exists()
    assert fetch(dataset, tmp_path, shop.address).new
    assert shop.asked[-1] == "bytes=20000-"


def test_a_whole_file_that_was_not_yet_looked_at_is_not_fetched_again(shop, dataset, tmp_path):
    (tmp_path / f"{dataset.task}.tar.part").write_bytes(shop.content)
    assert fetch(dataset, tmp_path, shop.address).new
    assert len(shop.asked) == 1


def test_more_than_there_is_begins_anew(shop, dataset, tmp_path):
    (tmp_path / f"{dataset.task}.tar.part").write_bytes(shop.content + b"more")
    assert fetch(dataset, tmp_path, shop.address).new
    assert shop.asked[1:] == [""]


def test_a_server_that_cannot_begin_in_the_middle_begins_anew(shop, dataset, tmp_path):
    shop.ranges = False
    (tmp_path / f"{dataset.task}.tar.part").write_bytes(b"?" * 20_000)
    assert fetch(dataset, tmp_path, shop.address).new
    assert shop.asked == ["bytes=20000-"]


def test_a_wrong_sum_is_refused_and_not_kept(shop, dataset, tmp_path):
    shop.content = shop.content[:-1] + b"!"
    with pytest.raises(InputError, match=f"expected {dataset.md5}; it was removed"):
        fetch(dataset, tmp_path, shop.address)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_something_else_is_found_by_the_sum(shop, dataset, tmp_path):
    (tmp_path / f"{dataset.task}.tar.part").write_bytes(b"?" * 20_000)
    with pytest.raises(InputError, match="it was removed"):
        fetch(dataset, tmp_path, shop.address)
    assert fetch(dataset, tmp_path, shop.address).new


def test_a_refusal_is_told_at_once_and_a_busy_server_asked_again(shop, dataset, tmp_path):
    shop.refusals = [404]
    with pytest.raises(InputError, match="gives 404 Not Found; name a mirror by --address"):
        fetch(dataset, tmp_path, shop.address, waits_s=AT_ONCE)
    shop.refusals = [503, 429]
    assert fetch(dataset, tmp_path, shop.address, waits_s=AT_ONCE).new
    assert len(shop.asked) == 4


def test_a_server_that_is_not_there_is_told(shop, dataset, tmp_path):
    with pytest.raises(InputError, match=r"cannot be had: .*refused"):
        fetch(dataset, tmp_path, "http://127.0.0.1:9/x.tar", waits_s=())


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://host/x.tar", "x.tar", "https://", "http://[x/y.tar"])
def test_other_kinds_of_address_are_refused(dataset, tmp_path, address):
    with pytest.raises(InputError, match="is no address; expected one that begins with https://"):
        fetch(dataset, tmp_path, address)


def test_a_mirror_may_be_named_by_its_folder_and_lie_behind_a_proxy(shop, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{shop.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert fetch(dataset, tmp_path, "http://mirror.invalid/msd/").new
    assert shop.paths == [f"http://mirror.invalid/msd/{dataset.task}.tar"]


def test_a_full_disk_is_refused_before_anything_comes(shop, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(1, 1, 1 << 20))
    with pytest.raises(DiskFullError, match=r"side by side need 0\.27 GB more; free some space, or name another place"):
        fetch(dataset, tmp_path, shop.address)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_becomes_full_on_the_way_is_told_and_what_came_is_kept(shop, dataset, tmp_path):
    part = tmp_path / "x.tar.part"

    def full(done: int, total: int, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        download(Remote(shop.address, dataset.md5), tmp_path / "x.tar", progress=full)
    assert part.stat().st_size > 0


def test_an_archive_that_somebody_brought_is_taken_and_stays(dataset, archive, tmp_path):
    own = Path(shutil.copy(archive, tmp_path / archive.name))
    assert fetch(dataset, tmp_path, "http://127.0.0.1:9/x.tar").new
    assert own.is_file()
    shutil.rmtree(tmp_path / dataset.task)
    own.write_bytes(b"other")
    with pytest.raises(InputError, match="remove it, and it is fetched anew"):
        fetch(dataset, tmp_path, "http://127.0.0.1:9/x.tar")


def test_a_place_that_is_taken_is_left_alone(dataset, shop, tmp_path):
    (tmp_path / dataset.task).mkdir()
    with pytest.raises(InputError, match=r"holds no dataset.json; move it away"):
        fetch(dataset, tmp_path, shop.address)
    assert shop.asked == []


def test_the_table_is_that_of_monai():
    from monai.apps.datasets import DecathlonDataset

    assert {one.task: one.md5 for one in DATASETS.values()} == DecathlonDataset.md5
    assert {one.task: one.address for one in DATASETS.values()} == DecathlonDataset.resource


def test_names_and_tasks_are_found():
    assert find_dataset("Spleen") is find_dataset("task09_spleen") is DATASETS["spleen"]
    assert find_dataset("hepatic vessel").task == "Task08_HepaticVessel"
    with pytest.raises(InputError, match="no data set 'knee'; there are brain-tumour, heart, "):
        find_dataset("knee")

"""Files: the old one or the new one, never half of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from posebench.errors import InputError
from posebench.files import check_writable, write_atomically


def test_write_atomically_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in folder.rglob("*")
    }


@pytest.mark.parametrize("target", ["file/x.txt", "file/deep/x.txt", "folder"])
def test_write_that_cannot_be_leaves_nothing_behind(target: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="cannot write"):
        write_atomically(tmp_path / target, "text")
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_write_into_a_read_only_folder(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o500)
    for act in (lambda p: write_atomically(p / "x", "text"), check_writable):
        with pytest.raises(InputError, match="Permission denied"):
            act(tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_and_no_file_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError) as caught:
        check_writable(tmp_path / "runs")
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'runs'}: No space left on device; choose another folder"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", ["fsync", "chmod", "replace"])
def test_failure_half_way_keeps_the_old_file(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(InputError, match="No space left on device"):
        write_atomically(path, "new")
    monkeypatch.undo()
    assert snapshot(tmp_path) == {"file.txt": b"old"}


def test_interrupt_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file.txt", "text")
    monkeypatch.undo()
    assert snapshot(tmp_path) == {}


def test_check_writable_leaves_no_trace(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "a" / "b")
    assert snapshot(tmp_path) == {}

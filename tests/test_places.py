"""Where files are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxface import places


def test_of_a_command_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    for folder in (root / "src" / "mxface", root / "src" / "align", elsewhere):
        folder.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr("sys.argv", [str(root / "src" / "align" / "align_lfw.py")])
    assert places.search_folders() == [elsewhere, root / "src" / "align", root]
    monkeypatch.chdir(root)
    assert places.search_folders() == [root, root / "src" / "align"]


def test_of_an_installed_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "mxface" / "align"
    package.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(package / "align_lfw.py")])
    assert places.repository_root() is None
    assert places.search_folders() == [tmp_path, package]

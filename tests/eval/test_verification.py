"""The command's choices, without a network (tests/doors/test_eval.py runs it whole)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxface.errors import ConfigError, DataError
from mxface.eval.verification import choose_epochs, find_sets, main


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    for epoch in (1, 2, 10, 33):
        (tmp_path / f"model-r50.v1-{epoch:04d}.params").touch()
    (tmp_path / "model-r50.v1-best.params").touch()
    (tmp_path / "model-r50.v12-0007.params").touch()
    return str(tmp_path / "model-r50.v1")


def test_a_prefix_alone_takes_its_epochs_newest_first(prefix: str) -> None:
    assert choose_epochs(prefix, [], "") == [33, 10, 2, 1]


def test_named_epochs_keep_their_order(prefix: str) -> None:
    assert choose_epochs(prefix, [2, 33], "") == [2, 33]


@pytest.mark.parametrize(("window", "epochs"), [("0,2", [33, 10]), ("1,3", [10, 2]), ("1,4", [33, 10, 2, 1])])
def test_max_cuts_only_where_there_are_more(prefix: str, window: str, epochs: list[int]) -> None:
    assert choose_epochs(prefix, [], window) == epochs


@pytest.mark.parametrize("window", ["3", "a,b", "2,2", "-1,3", ","])
def test_a_window_that_cannot_be_meant_is_refused(prefix: str, window: str) -> None:
    with pytest.raises(ConfigError, match="--max"):
        choose_epochs(prefix, [], window)


def test_no_params_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no gone-NNNN\.params in "):
        choose_epochs(str(tmp_path / "gone"), [], "")


def test_sets_without_a_file_are_skipped_and_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cfp_fp.bin").touch()
    assert find_sets(tmp_path, "lfw, cfp_fp,") == [tmp_path / "cfp_fp.bin"]
    with pytest.raises(DataError, match=r"none of lfw\.bin, agedb_30\.bin is in"):
        find_sets(tmp_path, "lfw,agedb_30")


def test_report_and_baseline_belong_to_the_test(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--mode", "1", "--report", "x.html"]) == 1
    assert "belong to --mode 0, not to --mode 1" in capsys.readouterr().err

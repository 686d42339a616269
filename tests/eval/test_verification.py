"""The command's choices and modes, in this process (tests/doors/test_eval.py runs it as a user does)."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.support.verification import MODEL, PAIRS, make_verification_data

from mxface.errors import ConfigError, DataError
from mxface.eval.verification import choose_epochs, find_sets, main
from mxface.formats.evalset import read_evalset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_verification_data(tmp_path_factory.mktemp("faces"))


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    for epoch in (1, 2, 10, 33):
        (tmp_path / f"model-r50.v1-{epoch:04d}.params").touch()
    (tmp_path / "model-r50.v1-best.params").touch()
    (tmp_path / "model-r50.v12-0007.params").touch()
    return str(tmp_path / "model-r50.v1")


def run(data: Path, *arguments: object) -> int:
    return main(["--data-dir", str(data), *map(str, arguments)])


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


def test_sets_without_a_file_are_skipped_and_none_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cfp_fp.bin").touch()
    assert find_sets(tmp_path, "lfw, cfp_fp,") == [tmp_path / "cfp_fp.bin"]
    assert capsys.readouterr().err == f"skipped, not in {tmp_path}: lfw.bin\n"
    with pytest.raises(DataError, match=r"none of lfw\.bin, agedb_30\.bin is in"):
        find_sets(tmp_path, "lfw,agedb_30")


def test_the_best_of_all_epochs_with_pixels_and_a_report(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    options = ["--nfolds", 4, "--batch-size", 7, "--baseline", "pixels", "--report", report]
    assert run(data, "--model", data / MODEL, "--target", "hard", *options) == 0
    out = capsys.readouterr().out
    assert re.findall(rf"{MODEL} (\d)", out) == ["3", "2", "1"]
    flips = re.findall(r"\[hard\]Accuracy-Flip: ([\d.]+)", out)
    assert len(flips) == 3
    assert f"Max of [hard] is {max(flips)}" in out
    assert re.search(r"\[hard\]Accuracy-Pixels: [\d.]+\+-[\d.]+\n\[hard\]Accuracy-Flip-Pixels: [\d.]+\+-[\d.]+\n", out)
    assert out.endswith(f"wrote {report}\n")
    text = report.read_text("utf-8")
    assert all(name in text for name in (f"{MODEL}-0001", f"{MODEL}-0003", "plain pixels", "--batch-size 7"))


def test_max_picks_some_epochs(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "--model", data / MODEL, "--target", "easy", "--max", "1,2") == 0
    assert re.findall(rf"{MODEL} (\d)", capsys.readouterr().out) == ["2"]


def test_bad_cases_are_drawn(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(data, "--model", f"{data}/{MODEL},1", "--target", "hard,easy", "--mode", 1) == 0
    out = capsys.readouterr().out
    negatives, positives = (int(number) for number in re.findall(r"^(\d+) (\d+)$", out, re.MULTILINE)[0])
    accuracy = float(re.findall(r"^acc ([\d.]+)$", out, re.MULTILINE)[0])
    assert negatives + positives == round((1 - accuracy) * PAIRS) > 0
    for count, kind in ((negatives, "positive(false_negative)"), (positives, "negative(false_positive)")):
        path = tmp_path / "badcases" / f"hard,easy_{kind}.png"
        assert path.exists() == (count > 0)
        if count:
            assert cv2.imread(str(path)).shape == (112 * -(-count // 4) + 20, 4 * 224 + 30, 3)


def test_embeddings_are_dumped(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(data, "--model", f"{data}/{MODEL},1", "--target", "easy", "--mode", 2) == 0
    embeddings, issame = pickle.loads((tmp_path / "temp.bin").read_bytes())
    assert embeddings.shape == (2 * PAIRS, 16)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1)
    assert issame == read_evalset(data / "easy.bin").issame.tolist()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target", "easy", "--model", "gone/model,1"], "gone/model-0001.params"),
        (["--target", "easy", "--model", "gone/model"], "no model-NNNN.params in gone"),
        (["--target", "easy", "--model", "one,two,3"], "one,two,3"),
        (["--target", "easy", "--engine", "caffe"], "there is no engine 'caffe'"),
        (["--target", "easy", "--batch-size", "0"], "--batch-size 0: must be 1 or more"),
        (["--target", "easy", "--nfolds", "-2"], "--nfolds -2: must be 1 or more"),
        (["--target", "easy", "--nfolds", "41"], "40 pairs cannot be split into 41 folds"),
        (["--target", "torn"], "torn.bin"),
        (["--mode", "1", "--report", "x.html"], "belong to --mode 0, not to --mode 1"),
    ],
)
def test_what_cannot_work_ends_with_a_sentence(
    data: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "torn.bin").write_bytes((data / "easy.bin").read_bytes()[:5000])
    assert run(data, "--model", f"{data}/{MODEL},1", *arguments) == 1
    assert sentence in capsys.readouterr().err

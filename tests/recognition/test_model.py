"""What --pretrained means, and what is said where it means nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mxface.errors import MxfaceError
from mxface.recognition.model import find_pretrained


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `run` with the names of three epochs."""
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    for epoch in (2, 5, 12):
        Path(f"run/model-{epoch:04d}.params").touch()
    return tmp_path


@pytest.mark.parametrize("text", ["run,5", "run", "run/model", "run/model,5"])
def test_prefix_or_folder_with_either_epoch(folder: Path, text: str) -> None:
    assert find_pretrained(text, 5) == (Path("run/model"), 5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "run",
            "run/model-0001.params: no such file; the epochs there are 2, 5, 12, so name one: --pretrained run/",
        ),
        ("run,3", "run/model-0003.params: no such file; the epochs there are 2, 5, 12"),
        (
            "run/net",
            "run/net-0001.params: no such file; there is no net-NNNN.params at all; name a model, PREFIX,EPOCH",
        ),
        ("run,2|5", "expected one epoch, as in run,2"),
    ],
)
def test_an_epoch_that_is_not_there(folder: Path, text: str, sentence: str) -> None:
    with pytest.raises(MxfaceError, match=re.escape(f"--pretrained {text}: {sentence}")):
        find_pretrained(text, 1)

"""Outputs are checked before the work, and what a failed command made goes again."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mxface import outputs
from mxface.align import align_lfw, get_mtcnn
from mxface.data import get_orl, lfw2pack
from mxface.deploy import export_onnx, face_embedding, face_model
from mxface.deploy import test as deploy_test
from mxface.errors import ConfigError
from mxface.eval import verification
from mxface.outputs import output_folder, require_file, require_folder, require_new, sole_use
from mxface.recognition.common import checkpoint


def test_what_can_be_written_passes_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require_file("new.onnx", "--output")
    require_file(tmp_path / "a" / "b" / "report.html", "--report", makes_folders=True)
    require_folder("c/d", "--output-dir")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"--output {tmp_path}: is a folder; name a file in it"):
        require_file(tmp_path, "--output")
    with pytest.raises(ConfigError, match=r"--output .*/no/new\.onnx: there is no folder .*/no; make it"):
        require_file(tmp_path / "no" / "new.onnx", "--output")
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "x" / "y"):
        with pytest.raises(ConfigError, match=r"--out .*: nothing can be written to .*/file \(Not a directory\); name"):
            require_folder(path, "--out")
    require_folder(tmp_path, "--out")

    def refuse(**_options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(ConfigError, match=r"nothing can be written to .* \(Read-only file system\)"):
        require_file(tmp_path / "new.onnx", "--output")


def test_what_must_be_new(tmp_path: Path) -> None:
    require_new(tmp_path / "parts", "--output")
    (tmp_path / "parts").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=f"--output {tmp_path}/parts: exists; name a new folder"):
        require_new(tmp_path / "parts", "--output")


def test_a_folder_that_was_moved_away_can_be_put_back(tmp_path: Path) -> None:
    path = tmp_path / "models" / "run"
    with pytest.raises(ValueError, match="1"), output_folder(path, "--models-root"):
        path.rename(tmp_path / "elsewhere")
        raise ValueError(1)
    (tmp_path / "elsewhere").rename(path)


def test_a_failed_block_leaves_no_folder_that_it_made(tmp_path: Path) -> None:
    path = tmp_path / "models" / "run"
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), output_folder(path, "--models-root"):
            assert path.is_dir()
            raise error
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "models").mkdir()  # the user's own
    with pytest.raises(ValueError, match="1"), output_folder(path, "--models-root"):
        raise ValueError(1)
    assert [place.name for place in tmp_path.rglob("*")] == ["models"]
    with pytest.raises(ValueError, match="2"), output_folder(path, "--models-root"):
        (path / "log").touch()
        raise ValueError(2)
    assert (path / "log").exists()
    with output_folder(tmp_path / "fine", "--models-root"):  # as of a run that ranks were to do, and did not begin
        assert (tmp_path / "fine").is_dir()
    assert not (tmp_path / "fine").exists()
    with pytest.raises(ConfigError, match=r"the output folder cannot be made \(File name too long\)"):
        output_folder(tmp_path / ("x" * 300), "--models-root").__enter__()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = r"file/run: the output folder cannot be made \(Not a directory\); choose another --models-root"
    with pytest.raises(ConfigError, match=sentence), output_folder(tmp_path / "file" / "run", "--models-root"):
        pass


MODEL, PLACE = ("--model", "nowhere/model,0"), "file/place"  # `file` is no folder
COMMANDS = {
    "export_onnx": (export_onnx.main, MODEL, "--output"),
    "face_embedding": (face_embedding.main, MODEL, "--output"),
    "face_model": (face_model.main, (), "--output"),
    "test, embeddings": (deploy_test.main, MODEL, "--output"),
    "test, drawings": (deploy_test.main, (), "--draw"),
    "verification": (verification.main, MODEL, "--report"),
    "lfw2pack": (lfw2pack.main, ("--data-dir", "nowhere"), "--output"),
    "align_lfw": (align_lfw.main, ("--input-dir", "nowhere"), "--output-dir"),
    "get_mtcnn": (get_mtcnn.main, ("--wheel", "nowhere"), "--output"),
    "get_orl": (get_orl.main, ("--wheel", "nowhere"), "--output"),
    "split": (checkpoint.main, ("split", "nowhere,0", "--ranks", "2"), "--output"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_looks_at_its_output_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Before it misses its inputs, none of which are there."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    main, flags, flag = COMMANDS[name]
    assert main([*flags, flag, PLACE]) == 1
    said = capsys.readouterr().err
    assert flag in said and "file" in said and "nowhere" not in said, said
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


@pytest.mark.parametrize(("mode", "place"), [("1", "badcases"), ("2", "temp.bin")])
def test_what_verification_writes_without_a_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if mode == "1":
        Path(place).touch()
    else:
        Path(place).mkdir()
    assert verification.main([*MODEL, "--mode", mode]) == 1
    assert f"--mode {mode}: {place}: " in capsys.readouterr().err


HOLD = """
import sys
from pathlib import Path
from mxface.outputs import sole_use
with sole_use(Path(sys.argv[1]), ""):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_writes_into_a_folder(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(ConfigError, match=f"{tmp_path}: another run writes there now; wait"),
        sole_use(tmp_path, "wait"),
    ):
        pass
    holder.kill()
    holder.communicate()
    for _ in range(2):  # of the killed one nothing is left, nor of one that has ended
        with sole_use(tmp_path, "wait"):
            assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_locked_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(outputs.fcntl, "flock", refuse)
    with sole_use(tmp_path, "wait"):
        pass

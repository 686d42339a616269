"""checkpoint.py: what it says of states and models, and that merge undoes split to the last bit."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.tiny_model import save_tiny_model
from torch import Tensor

from mxface.formats.params import read_params, write_params
from mxface.graph import load_checkpoint, save_checkpoint
from mxface.recognition.common.checkpoint import main
from mxface.train import model_of_state
from mxface.train.state import StateFolder

NUM_CLASSES, EMB_SIZE = 11, 16


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run: a model, and the state that it was saved from."""
    folder = tmp_path / "run"
    folder.mkdir()
    prefix = save_tiny_model(folder / "model")
    StateFolder(folder / "state").save(state_of(prefix), step=20)
    return folder


def state_of(prefix: str) -> dict[str, Tensor]:
    """A state with the numbers of a model, and class centres."""
    model = load_checkpoint(prefix, 1)
    state = {f"backbone/{name}": torch.tensor(array) for name, array in (model.arg_params | model.aux_params).items()}
    state |= {f"momentum/{name}": torch.ones(array.shape) for name, array in model.arg_params.items()}
    generator = torch.Generator().manual_seed(0)
    state["head/fc7_weight"] = torch.randn(NUM_CLASSES, EMB_SIZE, generator=generator)
    state["head/fc7_bias"] = torch.randn(NUM_CLASSES, generator=generator)
    state["head/fc7_weight_momentum"] = torch.zeros(NUM_CLASSES, EMB_SIZE)
    return state | {"Progress/step": torch.tensor(20), "Progress/images": torch.tensor(160)}


def test_inspect_says_what_there_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(run)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in said] == [f"{run}/state/step-00000020", f"{run}/model-0001.params"]
    assert "step 20, images of it 160" in said[0] and "arrays" in said[1]

    assert main(["inspect", str(run / "state" / "step-00000020"), "--norms"]) == 0
    said = capsys.readouterr().out.splitlines()
    norm = torch.linalg.vector_norm(state_of(f"{run}/model")["head/fc7_weight"])
    assert [line.split() for line in said if line.startswith("head/fc7_weight ")] == [
        ["head/fc7_weight", "(11,", "16)", "float32", "704", "1", f"{norm:.6g}"]
    ]
    assert said[-4].startswith(".metadata: ") and "saved.json" in said[-2] and said[-1].endswith("KB")

    assert main(["inspect", f"{run}/model,1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "outputs fc1_output" in said[0] and said[2].split() == [
        "arg:conv0_weight",
        "(6,",
        "3,",
        "5,",
        "5)",
        "float32",
        "1800",
    ]
    assert main(["inspect", f"{run}/model-0001.params"]) == 0
    assert capsys.readouterr().out.splitlines() == said[1:]


def test_inspect_finds_damage(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next((run / "state").glob("*/*.distcp"))
    data = bytearray(path.read_bytes())
    data[data.find(state_of(f"{run}/model")["head/fc7_weight"].numpy().tobytes())] ^= 1
    path.write_bytes(data)
    assert main(["inspect", str(path.parent)]) == 0
    assert main(["inspect", str(path.parent), "--norms"]) == 1
    assert "__0_0.distcp: byte" in capsys.readouterr().err
    path.write_bytes(b"")
    assert main(["inspect", str(run)]) == 0
    assert capsys.readouterr().out.startswith("damaged: ")


@pytest.mark.parametrize("mapped_bytes", [1, 1 << 28])
def test_merge_makes_the_model_of_a_state(run: Path, monkeypatch: pytest.MonkeyPatch, mapped_bytes: int) -> None:
    monkeypatch.setattr(model_of_state, "MAPPED_BYTES", mapped_bytes)
    assert main(["merge", str(run / "state" / "step-00000020"), "--output", f"{run}/new/model,7"]) == 0
    assert (run / "new" / "model-0007.params").read_bytes() == (run / "model-0001.params").read_bytes()
    assert (run / "new" / "model-symbol.json").read_bytes() == (run / "model-symbol.json").read_bytes()

    assert main(["merge", str(run), "--with-head", "--output", f"{run}/new/head,0"]) == 0
    arrays = read_params(run / "new" / "head-0000.params")
    state = state_of(f"{run}/model")
    for name in ("fc7_weight", "fc7_bias"):
        assert np.array_equal(arrays.pop(f"arg:{name}"), state[f"head/{name}"].numpy())
    assert arrays.keys() == read_params(run / "model-0001.params").keys()
    assert len(list((run / "new").iterdir())) == 4


def test_merge_needs_a_graph(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    symbol = (run / "model-symbol.json").rename(run / "elsewhere.json")
    merge = ["merge", str(run), "--output", f"{run}/new/model,0"]
    assert main(merge) == 1
    assert "model-symbol.json: no such file; name the graph" in capsys.readouterr().err
    assert main([*merge, "--symbol", str(symbol)]) == 0
    other = save_tiny_model(run / "other")
    text = Path(f"{other}-symbol.json").read_text().replace("conv0", "conv1")
    Path(f"{other}-symbol.json").write_text(text)
    assert main([*merge, "--symbol", f"{other}-symbol.json"]) == 1
    assert "conv0_weight is not in the graph" in capsys.readouterr().err


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 11])
def test_merge_undoes_split(run: Path, ranks: int) -> None:
    folder = run.parent
    assert main(["merge", str(run), "--with-head", "--output", f"{folder}/whole/model,3"]) == 0
    parts = folder / "parts"
    assert main(["split", f"{folder}/whole/model,3", "--ranks", str(ranks), "--output", str(parts)]) == 0
    rows = -(-NUM_CLASSES // ranks)
    weight = read_params(folder / "whole" / "model-0003.params")["arg:fc7_weight"]
    for number in range(ranks):
        part = read_params(parts / f"fc7_{number}.params")
        assert list(part) == [f"arg:fc7_{number}_weight", f"arg:fc7_{number}_bias"]
        assert np.array_equal(part[f"arg:fc7_{number}_weight"], weight[number * rows : (number + 1) * rows])
    assert main(["merge", str(parts), "--output", f"{folder}/again/model,3"]) == 0
    for name in ("model-symbol.json", "model-0003.params"):
        assert (folder / "again" / name).read_bytes() == (folder / "whole" / name).read_bytes()

    # a state gives the same parts
    assert main(["split", str(run), "--ranks", str(ranks), "--output", str(folder / "of_state")]) == 0
    for path in parts.glob("fc7_*"):
        assert (folder / "of_state" / path.name).read_bytes() == path.read_bytes()


def test_phantom_classes_of_2019_are_left_out(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run / "parts"
    folder.mkdir()
    model = load_checkpoint(run / "model", 1)
    save_checkpoint(folder / "model", 1, model.symbol, model.arg_params, model.aux_params)
    centres = np.random.default_rng(0).normal(size=(12, EMB_SIZE)).astype(np.float32)
    for number in range(3):  # 4 rows each for 11 classes
        write_params(
            folder / f"fc7_{number}.params", {f"arg:fc7_{number}_weight": centres[4 * number : 4 * number + 4]}
        )
    assert main(["merge", str(folder), "--output", f"{run}/merged,0", "--num-classes", "11"]) == 0
    assert np.array_equal(read_params(run / "merged-0000.params")["arg:fc7_weight"], centres[:11])
    assert main(["merge", str(folder), "--output", f"{run}/merged,0", "--num-classes", "13"]) == 1
    assert "the parts of fc7_weight have 12 rows" in capsys.readouterr().err
    (folder / "fc7_1.params").unlink()
    assert main(["merge", str(folder), "--output", f"{run}/merged,0"]) == 1
    assert "fc7_1.params is missing, of parts up to fc7_2.params" in capsys.readouterr().err


def test_what_cannot_be_split_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error(*arguments: str) -> str:
        assert main(list(arguments)) == 1
        return capsys.readouterr().err

    parts = str(run / "parts")
    assert "no fc7_weight: nothing to split" in error("split", f"{run}/model,1", "--ranks", "2", "--output", parts)
    seven = error("split", str(run), "--ranks", "7", "--output", parts)
    assert "--ranks 7: 11 classes, 2 a part (11 / 7 rounded up), fill 6 parts, and the others" in seven
    assert seven.endswith("choose --ranks 6\n")
    assert error("split", str(run), "--ranks", "99", "--output", parts).endswith("choose --ranks 11\n")
    assert "--ranks 0: expected" in error("split", str(run), "--ranks", "0", "--output", parts)
    assert "exists; name a new folder" in error("split", "nowhere,0", "--ranks", "2", "--output", str(run / "state"))
    assert "nowhere: no such file or folder" in error("inspect", "nowhere")
    assert "no training state; name a step-" in error("merge", parts, "--output", f"{parts},1")
    model = f"{run}/model,1"
    assert "SOURCE is a model, which has its own" in error(
        "split", model, "--ranks", "2", "--output", parts, "--symbol", "x"
    )
    assert "has no phantom classes" in error("merge", str(run), "--output", f"{parts},1", "--num-classes", "-1")
    assert "the output folder cannot be made" in error(
        "split", str(run), "--ranks", "2", "--output", f"{model[:-2]}-symbol.json/x"
    )
    before = sorted(run.rglob("*"))
    error("merge", str(run / "model,1"), "--output", f"{parts}/new/model,1")
    error("split", f"{run}/model,9", "--ranks", "2", "--output", f"{parts}/new/folder")
    assert sorted(run.rglob("*")) == before  # not even a folder


def test_a_split_that_fails_leaves_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, arrays: object) -> None:
        if path.name == "fc7_1.params":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_params(path, arrays)  # type: ignore[arg-type]

    monkeypatch.setattr(model_of_state, "write_params", full)
    before = sorted(run.iterdir())
    assert main(["split", str(run), "--ranks", "2", "--output", str(run / "parts")]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert sorted(run.iterdir()) == before


def test_a_folder_that_appears_during_the_work_is_not_written_into(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "parts").mkdir()
    monkeypatch.setattr("mxface.recognition.common.checkpoint.require_new", lambda *_: None)  # it came after this look
    assert main(["split", str(run), "--ranks", "2", "--output", str(tmp_path / "parts")]) == 1
    assert f"--output {tmp_path}/parts: exists; name a new folder" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == [tmp_path / "parts", run]
    assert list((tmp_path / "parts").iterdir()) == []

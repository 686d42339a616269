"""Every entry of sample_config.py's `loss` trains by the command, and its model can be saved with the head on top."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support import REPOSITORY
from tests.support.training import PEOPLE, write_tiny_config, write_tiny_set

from mxface.formats.checkpoint import list_epochs
from mxface.graph import Checkpoint, load_checkpoint
from mxface.lower import lower
from mxface.recognition import train, train_parall
from mxface.recognition.config import LOSS_NAMES
from mxface.recognition.config_file import read_config_file

LOSSES = read_config_file(REPOSITORY / "sample_config.py").namespace["loss"]
EMB_SIZE = 32
SETTINGS = """
dataset.tiny.val_targets = []
dataset.tiny.max_steps = {max_steps}
dataset.tiny.per_batch_size = 6
config.ckpt_embedding = False
config.count_flops = False
for entry in loss.values():
    if entry.loss_name.endswith("triplet"):
        entry.update(images_per_identity=6, triplet_bag_size=24, triplet_alpha=2.0)
"""


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_set(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


def run(
    tiny_set: Path,
    loss: str,
    *flags: str,
    max_steps: int = 1,
    status: int = 0,
    root: str = "models",
    main: Callable[..., int] = train.main,
) -> Checkpoint:
    """Train until batch `max_steps` + 1; the model saved after it."""
    write_tiny_config(Path("config.py"), tiny_set, more=SETTINGS.format(max_steps=max_steps))
    choice = ["--network", "tiny", "--dataset", "tiny", "--loss", loss, "--models-root", root]
    saving = ["--ckpt", "2", "--verbose", str(max_steps + 1)]
    assert main([*choice, *saving, "--threads", "1", "--lr", "0.01", *flags]) == status
    prefix = f"{root}/tiny-{loss}-tiny/model"
    return load_checkpoint(prefix, list_epochs(prefix)[-1])


def test_every_kind_of_loss_has_an_entry() -> None:
    assert {entry.loss_name for entry in LOSSES.values()} == set(LOSS_NAMES)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("loss", LOSSES)
def test_trains(loss: str, tiny_set: Path) -> None:
    checkpoint = run(tiny_set, loss)
    arrays = {**checkpoint.arg_params, **checkpoint.aux_params}
    assert [name for name, array in arrays.items() if not np.isfinite(array).all()] == []
    labels = {"data", "softmax_label"}
    assert {*arrays, *labels} == {*checkpoint.symbol.list_arguments(), *checkpoint.symbol.list_auxiliary_states()}
    if LOSSES[loss].loss_name.endswith("triplet"):
        assert not [name for name in arrays if name.startswith("fc7")]
        return
    shape = (PEOPLE, 3, EMB_SIZE) if loss == "sub_centre" else (PEOPLE, EMB_SIZE)
    assert checkpoint.arg_params["fc7_weight"].shape == shape
    probabilities = checkpoint.symbol.get_internals()["softmax_output"]
    network = lower(probabilities, arrays, inputs=("data", "softmax_label")).eval()
    images, label = torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(0)) * 255, torch.tensor([0.0, 3.0])
    torch.testing.assert_close(network(images, label).sum(dim=1), torch.ones(2))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("loss", ["adaface", "curricularface", "sub_centre", "centre"])
def test_resumes_with_what_the_loss_remembers(loss: str, tiny_set: Path) -> None:
    straight = run(tiny_set, loss, max_steps=2, root="straight")
    run(tiny_set, loss, max_steps=1)
    resumed = run(tiny_set, loss, "--resume", max_steps=2)
    assert all(np.array_equal(array, resumed.arg_params[name]) for name, array in straight.arg_params.items())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("loss", ["adaface", "curricularface", "magface", "sub_centre", "centre", "easy_margin"])
def test_trains_on_samples_of_the_classes(loss: str, tiny_set: Path) -> None:
    checkpoint = run(tiny_set, loss, "--sample-rate", "0.5", "--per-batch-size", "4", main=train_parall.main)
    assert all(np.isfinite(array).all() for array in checkpoint.arg_params.values())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("main", "loss", "flags", "message"),
    [
        (train.main, "magface", ("--engine", "mxnet"), "loss_name magface is not for --engine mxnet: it trains the"),
        (train_parall.main, "inter", ("--sample-rate", "0.5"), "sample_rate is 0.5: the inter loss needs all classes"),
    ],
)
def test_what_cannot_be_is_refused(
    main: Callable[..., int],
    loss: str,
    flags: tuple[str, ...],
    message: str,
    tiny_set: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(IndexError):  # no model
        run(tiny_set, loss, *flags, status=1, main=main)
    assert message in capsys.readouterr().err

"""A user's config.py: where it is found, that it is executed once, and what is said when it cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.support import REPOSITORY

from mxface.errors import ConfigError
from mxface.recognition.config_file import read_config_file

SAMPLE = REPOSITORY / "sample_config.py"


def test_both_samples_are_the_same_file() -> None:
    assert (REPOSITORY / "recognition" / "sample_config.py").read_bytes() == SAMPLE.read_bytes()


# spec recognition §2, column "overridden by"
@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("r100", {"net_name": "fresnet", "num_layers": 100, "emb_size": 512, "net_output": "E", "net_unit": 3}),
        ("r100fc", {"num_layers": 100, "net_output": "FC"}),
        ("r50v1", {"num_layers": 50, "net_unit": 1}),
        ("d201", {"net_name": "fdensenet", "num_layers": 201, "densenet_dropout": 0.0, "per_batch_size": 64}),
        ("y1", {"net_name": "fmobilefacenet", "emb_size": 128, "net_output": "GDC", "net_blocks": [1, 4, 6, 2]}),
        ("y2", {"emb_size": 256, "net_blocks": [2, 8, 16, 4]}),
        ("m05", {"net_name": "fmobilenet", "net_multiplier": 0.5, "emb_size": 256, "net_output": "GDC"}),
        ("mnas025", {"net_name": "fmnasnet", "net_multiplier": 0.25}),
        ("dpn92", {"net_family": "src", "net_name": "fdpn", "num_layers": 92, "net_output": "E"}),
        ("i", {"net_family": "src", "net_name": "finception_resnet_v2", "emb_size": 512}),
    ],
)
def test_network_entries(network: str, expected: dict[str, object]) -> None:
    settings, _ = read_config_file(SAMPLE).generate(network=network, dataset="emore", loss="arcface")
    assert {key: settings[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("loss", "s_m1_m2_m3"),
    [
        ("nsoftmax", (64, 1, 0, 0)),
        ("sphereface", (64, 1.5, 0, 0)),
        ("arcface", (64, 1, 0.5, 0)),
        ("cosface", (64, 1, 0, 0.35)),
        ("combined", (64, 1, 0.3, 0.2)),
    ],
)
def test_margin_entries(loss: str, s_m1_m2_m3: tuple[float, ...]) -> None:
    settings, _ = read_config_file(SAMPLE).generate(network="y1", dataset="retina", loss=loss)
    assert settings["loss_name"] == "margin_softmax"
    assert tuple(settings[f"loss_{key}"] for key in ("s", "m1", "m2", "m3")) == s_m1_m2_m3


def test_entries_change_defaults_in_the_order_loss_network_dataset() -> None:
    file = read_config_file(SAMPLE)
    _, defaults = file.generate(network="d169", dataset="emore", loss="triplet")
    assert (defaults["per_batch_size"], defaults["lr"]) == (64, 0.05)  # the network came after the loss


@pytest.mark.parametrize(("table", "name"), [("network", "r9"), ("dataset", "lfw"), ("loss", "arcfaze")])
def test_unknown_entry_lists_the_known(table: str, name: str) -> None:
    choice = {"network": "y1", "dataset": "emore", "loss": "arcface", table: name}
    with pytest.raises(ConfigError, match=rf"--{table} {name}: not in .*, which has .*{ {**choice}[table][0] }"):
        read_config_file(SAMPLE).generate(**choice)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the repository's layout, started as `python recognition/train.py` from elsewhere."""
    for folder in ("recognition", "src/mxface", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "recognition" / "train.py")])
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def place_config(folder: Path, name: str = "config.py") -> Path:
    path = folder / name
    path.write_text(SAMPLE.read_text())
    return path.resolve()


def test_search_order(checkout: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"neither config\.py nor sample_config\.py .*--config PATH"):
        read_config_file()
    expected = []
    sample = place_config(checkout / "elsewhere", "sample_config.py")
    found = read_config_file()
    assert found.path == sample
    found.warn_if_fallback()
    assert f"no config.py: using {sample}" in caplog.text
    caplog.clear()
    for folder in (checkout, checkout / "recognition", checkout / "elsewhere"):  # the last one wins
        expected.append(place_config(folder))
        assert read_config_file().path == expected[-1]
    for path in (expected[0], sample):
        named = read_config_file(path)
        named.warn_if_fallback()
        assert named.path == path
    assert not caplog.text


def test_a_file_is_executed_once(tmp_path: Path) -> None:
    path = place_config(tmp_path)
    path.write_text(path.read_text() + f"\nwith open({str(tmp_path / 'runs')!r}, 'a') as runs:\n    runs.write('x')\n")
    read_config_file(path).generate(network="y1", dataset="emore", loss="arcface")
    assert (tmp_path / "runs").read_text() == "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module", "cannot be executed: ModuleNotFoundError"),
        ("config = {}", "has no network, dataset, loss, default, generate_config"),
    ],
)
def test_a_file_that_is_no_config(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config_file(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_config_file(tmp_path / "none.py")

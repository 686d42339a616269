"""The memory foretold, against what a process really takes."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.train.tiny import configure, tiny_batch, tiny_learner

from mxface.loaders import Batch
from mxface.losses import HeadConfig, SoftmaxHead
from mxface.ranks import Ranks
from mxface.symbols import get_symbol
from mxface.train.initializer import init_params
from mxface.train.learner import Learner
from mxface.train.memory import (
    MXNET_FACTOR,
    LiveBytes,
    MemoryForecast,
    activation_bytes,
    available_bytes,
    forecast_memory,
    forecast_mxnet_memory,
    head_bytes,
    peak_bytes,
    peak_resident_bytes,
)

PROGRAM = """
import sys
import numpy as np
import torch
from tests.train.tiny import configure
from mxface.loaders import Batch
from mxface.losses import HeadConfig, SoftmaxHead
from mxface.symbols import get_symbol
from mxface.train.initializer import init_params
from mxface.train.learner import Learner
from mxface.train.memory import forecast_memory, peak_resident_bytes, resident_bytes

torch.set_num_threads(1)
network, dtype, batch_size, num_classes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
process = resident_bytes()
if network == "y1":
    family, dim = "fmobilefacenet", 128
    embedding = get_symbol(family, emb_size=dim, net_output="GDC", net_blocks=(1, 4, 6, 2))
else:
    family, dim = "fresnet", 512
    embedding = get_symbol(family, num_layers=18, emb_size=dim, net_output="E")
arguments, _, states = embedding.infer_shape(data=(1, 3, 112, 112))
shapes = {name: shape for name, shape in {**arguments, **states}.items() if name != "data"}
params = init_params(embedding, shapes, family, np.random.default_rng(0))
head = SoftmaxHead(HeadConfig(num_classes=num_classes, emb_size=dim))
config = configure(batch_size=batch_size, dtype=dtype, lr=0.01)
learner = Learner(embedding, params, head, config, device=torch.device("cpu"))
del params
forecast = forecast_memory(
    learner, rank_batch_size=batch_size, image_shape=(112, 112, 3), process=process, loaded=0, sharers=1
)
rng = np.random.default_rng(0)
for step in range(1, 4):
    images = rng.integers(0, 256, (batch_size, 112, 112, 3), np.uint8)
    batch = Batch(images, rng.integers(0, num_classes, batch_size), np.arange(batch_size))
    learner.train_batch(batch, step=step, lr=0.01, check=lambda output: None)
print(process, forecast.total, peak_resident_bytes())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the constants are glibc's")
@pytest.mark.parametrize(
    "run",
    [
        ("y1", "float32", 12, 1000),
        ("y1", "bf16", 4, 300_000),  # mostly class centres
        pytest.param(("r18", "float32", 8, 1000), marks=pytest.mark.slow),
        pytest.param(("y1", "bf16", 24, 1000), marks=pytest.mark.slow),
        pytest.param(("r18", "bf16", 16, 1000), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_forecast_of_a_process_is_within_a_tenth(run: tuple[object, ...]) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, run)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    _, foretold, measured = map(float, finished.stdout.split())
    assert foretold == pytest.approx(measured, rel=0.1)


def test_live_bytes_rise_and_fall() -> None:
    known = torch.zeros(1000)
    with LiveBytes([known]) as live:
        known.add_(1)
        assert live.now == 0
        first = torch.ones(100)
        view = first.view(10, 10)
        assert live.now == 400
        second = view * 2  # 400 more; the view shares its memory
        del first, view
        assert (live.now, live.peak) == (400, 800)
        del second
    assert (live.now, live.peak) == (0, 800)


def test_activations_grow_in_proportion_to_the_batch() -> None:
    learner = tiny_learner()
    sizes = [activation_bytes(learner, count, (8, 8, 3))[0] for count in (2, 10, 50)]
    assert sizes[2] - sizes[1] == pytest.approx(5 * (sizes[1] - sizes[0]))
    with LiveBytes([*learner.backbone.parameters(), *learner.backbone.buffers()]) as live:
        learner.rehearse(tiny_batch(0, 50).data)
    gradients = sum(parameter.nbytes for parameter in learner.backbone.parameters())
    assert sizes[2] == pytest.approx(live.peak - gradients, rel=0.02)


@pytest.mark.parametrize("rate", [1.0, 0.3])
@pytest.mark.parametrize("product_dtype", [None, torch.bfloat16])
def test_the_heads_buffers_are_counted(rate: float, product_dtype: torch.dtype | None) -> None:
    config = HeadConfig(num_classes=30_000, emb_size=64, m2=0.5)
    head = SoftmaxHead(config, product_dtype=product_dtype, sample_rate=rate)
    embedding, label = torch.randn(32, 64), torch.randint(30_000, (32,))
    with LiveBytes([*head.parameters(), *head.buffers()]) as live:
        head.step(embedding, label, lr=0.1, momentum=0.9, wd=0.0, step=1)
    assert head_bytes(head, 32) == pytest.approx(live.peak, rel=0.25)


def test_the_classes_of_all_labels_are_in_a_sample() -> None:
    heads = [SoftmaxHead(HeadConfig(num_classes=3000, emb_size=8), sample_rate=rate) for rate in (0.001, 0.49, 0.6)]
    smallest, half, more = (head_bytes(head, 2048) for head in heads)
    assert smallest == half < more  # 2048 labels are of 1485 classes


def test_parts_and_what_fits() -> None:
    learner = tiny_learner(configure(batch_size=4))
    forecast = forecast_memory(learner, rank_batch_size=4, image_shape=(8, 8, 3), process=1e8, loaded=2e6, sharers=2)
    parameters = sum(parameter.nbytes for parameter in learner.backbone.parameters())
    assert forecast.parts["momentum"] == forecast.parts["gradients"] == parameters
    assert forecast.parts["class centres"] == 2 * learner.head.fc7_weight.nbytes
    assert (forecast.parts["process"], forecast.parts["data"]) == (1e8, 2e6)
    assert forecast.total == sum(forecast.parts.values())


def test_ranks_hold_the_gradients_twice() -> None:
    """Measured of gloo: r50, batch 4 a rank, 1 and 2 ranks: 1265 and 1426 MB, its parameters being 175."""
    learner = tiny_learner(configure(batch_size=4))
    learner.ranks = Ranks(0, 2)
    forecast = forecast_memory(learner, rank_batch_size=2, image_shape=(8, 8, 3), process=1e8, loaded=2e6, sharers=2)
    assert forecast.parts["gradients"] == 2 * forecast.parts["momentum"] > 0


def test_what_mxnet_has_planned_is_on_top_of_what_it_holds() -> None:
    forecast = forecast_mxnet_memory(1e9, embedded=0.5, process=1e6, loaded=2e6)
    assert (forecast.parts["process"], forecast.parts["data"]) == (1e6, 2e6)
    assert forecast.total == pytest.approx(forecast.resident + MXNET_FACTOR * 1e9 + 0.5e9)


@pytest.mark.parametrize(("sharers", "fits"), [(1, True), (2, True), (3, False)])
def test_ranks_share_what_is_free(sharers: int, fits: bool) -> None:
    forecast = MemoryForecast(parts={"process": 3e9, "data": 2e9}, available=9e9, resident=1e9, sharers=sharers)
    assert forecast.fits is fits


def test_a_process_is_measured() -> None:
    """A new one: in this one a block may get memory that earlier tests freed. Linux counts coarsely on many cores."""
    program = """
import numpy as np
from mxface.train.memory import peak_resident_bytes, resident_bytes
before = resident_bytes()
block = np.ones(300_000_000, np.uint8)
print(before, resident_bytes(), peak_resident_bytes())
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, after, peak = map(int, found.stdout.split())
    assert 200_000_000 < after - before < 400_000_000
    assert peak == pytest.approx(after, abs=100_000_000)


def test_some_memory_is_free() -> None:
    assert available_bytes(torch.device("cpu")) > 1e6


@pytest.mark.gpu
def test_a_gpu_takes_what_was_foretold() -> None:
    device = torch.device("cuda", 0)
    torch.cuda.reset_peak_memory_stats(device)
    embedding = get_symbol("fmobilefacenet", emb_size=128, net_output="GDC", net_blocks=(1, 4, 6, 2))
    arguments, _, states = embedding.infer_shape(data=(1, 3, 112, 112))
    shapes = {name: shape for name, shape in {**arguments, **states}.items() if name != "data"}
    params = init_params(embedding, shapes, "fmobilefacenet", np.random.default_rng(0))
    head = SoftmaxHead(HeadConfig(num_classes=50_000, emb_size=128))
    learner = Learner(embedding, params, head, configure(batch_size=128, lr=0.01), device=device)
    forecast = forecast_memory(learner, rank_batch_size=128, image_shape=(112, 112, 3), process=0, loaded=0, sharers=1)
    torch.cuda.reset_peak_memory_stats(device)
    images = np.zeros((128, 112, 112, 3), np.uint8)
    batch = Batch(images, np.arange(128), np.arange(128))
    for step in (1, 2):
        learner.train_batch(batch, step=step, lr=0.01, check=lambda output: None)
    assert forecast.total == pytest.approx(peak_bytes(device), rel=0.15)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's VmHWM")
def test_the_peak_is_not_the_parents() -> None:
    held = np.ones(200_000_000, np.uint8)  # the kernel hands a parent's maximum on to whom it starts
    program = "from mxface.train.memory import peak_resident_bytes; import os; print(peak_resident_bytes())"
    here = peak_resident_bytes()
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(found.stdout) < here - held.nbytes // 2

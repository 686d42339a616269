"""The three MTCNN networks, from the trained weights in the `mtcnn` wheel.

    python src/align/get_mtcnn.py --output models/mtcnn

Downloads mtcnn 1.0.0 (MIT) with pip, or takes the wheel that --wheel names; checks its SHA-256; writes
OUTPUT/det{1,2,3}-symbol.json and -0001.params, the files that the 2019 detector reads. The weights equal those of
2016 bit for bit. det4, which refines landmarks, is in no package: put its two files there if you have them.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mxface.cli import HelpFormatter, command
from mxface.data.wheels import check_wheel, fetch_wheel
from mxface.errors import FormatError
from mxface.formats.joblib_arrays import read_joblib_arrays
from mxface.graph import Symbol, save_checkpoint
from mxface.outputs import require_folder
from mxface.places import repository_root
from mxface.symbols import mtcnn

Array = NDArray[np.float32]

_VERSION = "1.0.0"
_SHA256 = "0a96b4868e56db9ae984449519642be6dba03240e608a67e928ebb47833e9144"
_EPOCH = 1


@dataclass(frozen=True, kw_only=True)
class WheelNetwork:
    """How one network lies in the wheel: its layers with slopes and then its heads, in the order of its arrays.

    `after_maps` is the dense layer that sees 3x3 maps.
    """

    name: str
    graph: Callable[[], Symbol]
    weights: str
    body: Sequence[str]
    heads: Sequence[str]
    after_maps: str = ""


NETWORKS = (
    WheelNetwork(
        name="det1",
        graph=mtcnn.pnet,
        weights="pnet.lz4",
        body=("conv1", "conv2", "conv3"),
        heads=("conv4_2", "conv4_1"),
    ),
    WheelNetwork(
        name="det2",
        graph=mtcnn.rnet,
        weights="rnet.lz4",
        body=("conv1", "conv2", "conv3", "conv4"),
        heads=("conv5_2", "conv5_1"),
        after_maps="conv4",
    ),
    WheelNetwork(
        name="det3",
        graph=mtcnn.onet,
        weights="onet.lz4",
        body=("conv1", "conv2", "conv3", "conv4", "conv5"),
        heads=("conv6_2", "conv6_3", "conv6_1"),
        after_maps="conv5",
    ),
)


def fetch_mtcnn() -> Path:
    """The path of the pinned wheel, downloaded by pip if it is not kept already."""
    return fetch_wheel("mtcnn", _VERSION, _SHA256)


def read_wheel(wheel: Path) -> dict[str, dict[str, Array]]:
    """Read the parameters of det1, det2, det3 by MXNet's names. The wheel must be the pinned one."""
    check_wheel(wheel, _SHA256)
    with zipfile.ZipFile(wheel) as archive:
        members = {network.name: f"mtcnn/assets/weights/{network.weights}" for network in NETWORKS}
        lists = {name: read_joblib_arrays(archive.read(member), member) for name, member in members.items()}
    return {network.name: to_mxnet(network, lists[network.name]) for network in NETWORKS}


def to_mxnet(network: WheelNetwork, arrays: Sequence[Array]) -> dict[str, Array]:
    """Name the arrays of the wheel and lay them out for MXNet.

    Their order is weight, bias, slope of each layer, then weight, bias of each head.
    """
    names = [name for layer in network.body for name in (f"{layer}_weight", f"{layer}_bias", f"prelu{layer[-1]}_gamma")]
    names += [name for head in network.heads for name in (f"{head}_weight", f"{head}_bias")]
    if len(names) != len(arrays):
        raise FormatError(network.weights, f"{len(arrays)} arrays", str(len(names)))
    params = {
        name: weight_to_mxnet(array, after_maps=name == f"{network.after_maps}_weight")
        if name.endswith("_weight")
        else array.ravel()
        for name, array in zip(names, arrays, strict=True)
    }
    # The wheel's networks take RGB, 2016's took BGR.
    params["conv1_weight"] = params["conv1_weight"][:, ::-1]
    return params


def weight_to_mxnet(weight: Array, *, after_maps: bool) -> Array:
    """Lay out a weight for MXNet: a convolution's (H, W, I, O) as (O, I, H, W), a dense one's (I, O) as (O, I).

    The inputs of a dense layer `after_maps` are 3x3 maps: in the wheel flattened as (W, H, C), in MXNet as (C, H, W).
    """
    if weight.ndim == 4:
        return np.transpose(weight, (3, 2, 0, 1))
    if after_maps:
        maps = np.reshape(weight, (3, 3, -1, weight.shape[-1]))
        return np.transpose(maps, (3, 2, 1, 0)).reshape(weight.shape[-1], -1)
    return np.transpose(weight)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write det1, det2, det3."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    default = (repository_root() or Path.cwd()) / "models" / "mtcnn"
    parser.add_argument("--output", type=Path, default=default, help="folder to write to")
    parser.add_argument("--wheel", type=Path, help=f"mtcnn-{_VERSION}-py3-none-any.whl, if you have it already")
    args = parser.parse_args(argv)
    require_folder(args.output, "--output")
    wheel = args.wheel or fetch_mtcnn()
    parameters = read_wheel(wheel)
    args.output.mkdir(parents=True, exist_ok=True)
    for network in NETWORKS:
        prefix = args.output / network.name
        arrays = {name: np.ascontiguousarray(array) for name, array in parameters[network.name].items()}
        save_checkpoint(prefix, _EPOCH, network.graph(), arrays, {})
        print(f"{prefix}-symbol.json  {prefix}-{_EPOCH:04d}.params  ({len(arrays)} arrays)")
    return 0

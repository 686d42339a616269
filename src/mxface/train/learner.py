"""What learns: the backbone, the head over the classes, and their optimiser, on one device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mxface.errors import DataError
from mxface.graph import Symbol
from mxface.loaders import Batch
from mxface.losses import HeadOutput, SoftmaxHead
from mxface.lower import export_params, lower
from mxface.runtime.heap import keep_freed_memory
from mxface.train.config import TrainConfig
from mxface.train.guard import NotFiniteError, require_finite_gradient
from mxface.train.optimizer import NO_MULTIPLIERS, SGD, Multipliers

Arrays = dict[str, npt.NDArray[np.float32]]
Check = Callable[[HeadOutput], None]


class TrainedBatch(NamedTuple):
    """What a batch gave: the head's output, and this rank's embeddings (b, D) without their graph."""

    output: HeadOutput
    embedding: Tensor


def require_labels(label: npt.NDArray[np.int64], num_classes: int) -> None:
    """Raise DataError for a label (B,) that is no class."""
    wrong = label[(label < 0) | (label >= num_classes)]
    if len(wrong):
        raise DataError(
            f"label {wrong[0]} in the data, but num_classes is {num_classes}; correct `property` or the config"
        )


class Trainee(Protocol):
    """What the loop trains, whatever engine computes it."""

    device: torch.device

    def train_batch(self, batch: Batch, *, step: int, lr: float, check: Check) -> TrainedBatch:
        """One update, number `step` (from 1). `check` sees the loss before anything is changed, and may raise."""

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Raw embeddings (B, D) of RGB images (B, H, W, 3), with the moving statistics."""

    def tensors(self) -> dict[str, Tensor]:
        """All that training changes, by name: `backbone/…`, `momentum/…`, `head/…`."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what a reader filled the tensors of `tensors()` with; other names in the table are passed over."""

    def export(self) -> tuple[Arrays, Arrays]:
        """Arguments (the head's too) and auxiliary states, by MXNet's names."""


class Learner:
    """One network in training. B images of a batch, D values of an embedding, C classes.

    `embedding` is the graph up to `fc1_output`, `params` the start of its arguments and auxiliary states.
    """

    def __init__(
        self,
        embedding: Symbol,
        params: Mapping[str, npt.NDArray[np.float32]],
        head: SoftmaxHead,
        config: TrainConfig,
        *,
        device: torch.device,
        multipliers: Multipliers = NO_MULTIPLIERS,
    ) -> None:
        self.device = device
        if device.type == "cpu":
            keep_freed_memory()  # a third of a step goes into page faults otherwise (docs/LOG.md)
        self.backbone = lower(embedding, params).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = head.to(device)
        self.optimizer = SGD(
            self.backbone.named_parameters(), lr=config.lr, momentum=config.mom, wd=config.wd, multipliers=multipliers
        )
        self._config = config
        self._multipliers = multipliers
        self._statistics = list(self.backbone.buffers())
        self._statistics_before = [torch.empty_like(statistic) for statistic in self._statistics]

    def train_batch(self, batch: Batch, *, step: int, lr: float, check: Check) -> TrainedBatch:
        """One update, number `step` (from 1); see `Trainee`."""
        # dropout's masks follow from (seed, step): a resumed run has the same, and a state need not hold a generator
        torch.manual_seed(int(np.random.SeedSequence((self._config.seed, step)).generate_state(1, np.uint64)[0]))
        images, label = self.fetch(batch)
        torch._foreach_copy_(self._statistics_before, self._statistics)
        try:
            embedding = self.forward(images)
            output = self.step(embedding, label, lr=lr, check=check)
        except NotFiniteError:
            torch._foreach_copy_(self._statistics, self._statistics_before)  # the forward wrote them
            self.optimizer.zero_grad()
            raise
        return TrainedBatch(output, embedding.detach())

    def fetch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) in channels_last order, 0..255, and labels (B,), on the device."""
        require_labels(batch.label, self.head.config.num_classes)
        return self._images(batch.data), torch.from_numpy(batch.label).to(self.device)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, D) with their graph for `step`."""
        with self._autocast():
            embedding: Tensor = self.backbone(images)
        return embedding

    def step(self, embedding: Tensor, label: Tensor, *, lr: float, check: Check) -> HeadOutput:
        """Loss, backward and update of everything. `check` sees the loss before anything is changed, and may raise.

        NotFiniteError: the backbone's gradient is not finite; the backbone is as it was, the centres have moved.
        """
        output, grad_embedding = self.head.step(
            embedding.detach(),
            label,
            lr=lr,
            momentum=self._config.mom,
            wd=self._config.wd,
            lr_mult=self._multipliers.lr,
            wd_mult=self._multipliers.wd,
            check=check,
        )
        torch.autograd.backward(embedding, grad_embedding.to(embedding.dtype))
        require_finite_gradient(self.optimizer.clip(self._config.clip_grad))
        self.optimizer.lr = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        return output

    @torch.inference_mode()
    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Raw embeddings (B, D) of RGB images (B, H, W, 3), with the moving statistics."""
        self.backbone.eval()
        try:
            with self._autocast():
                embedding: Tensor = self.backbone(self._images(images))
        finally:
            self.backbone.train()
        return embedding.float().cpu().numpy()

    def tensors(self) -> dict[str, Tensor]:
        """All that training changes, by name; the tensors themselves, so that filling them resumes a run."""
        parts = {
            "backbone": self.backbone.state_dict(),
            "momentum": self.optimizer.state_dict(),
            "head": self.head.state_dict(),
        }
        return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Nothing: filling the tensors of `tensors()` has done it."""

    def export(self) -> tuple[Arrays, Arrays]:
        """Arguments (the head's too) and auxiliary states, by MXNet's names."""
        args, aux = export_params(self.backbone)
        args.update({name: parameter.detach().cpu().numpy() for name, parameter in self.head.named_parameters()})
        return args, aux

    def _images(self, data: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> Tensor:
        images = torch.from_numpy(data)
        if self.device.type == "cuda":
            images = images.pin_memory().to(self.device, non_blocking=True)
        # a view: NHWC memory is what channels_last means
        return images.permute(0, 3, 1, 2).float()

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._config.dtype == "bf16")

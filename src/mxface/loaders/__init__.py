"""The training side of data: record data sets, the order of an epoch, decoding, augmentation. No torch."""

from __future__ import annotations

from mxface.loaders.batch import Batch
from mxface.loaders.record_dataset import RecordDataset
from mxface.loaders.train_loader import TrainLoader

__all__ = ["Batch", "RecordDataset", "TrainLoader"]

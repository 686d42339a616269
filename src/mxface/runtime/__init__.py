"""Saved networks, run: `load_predictor` gives a `Predictor` whatever the engine. Nothing here trains."""

from mxface.runtime.device import choose_device
from mxface.runtime.embedder import make_embedder
from mxface.runtime.loading import build_predictor, load_predictor
from mxface.runtime.predictor import Predictor

__all__ = ["Predictor", "build_predictor", "choose_device", "load_predictor", "make_embedder"]

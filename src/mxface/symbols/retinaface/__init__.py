"""RetinaFace: a feature pyramid on any backbone, context heads, and the losses of its training."""

from mxface.symbols.retinaface.network import build_retinaface
from mxface.symbols.retinaface.options import RETINAFACE_KEYWORDS, RetinaFaceOptions

__all__ = ["RETINAFACE_KEYWORDS", "RetinaFaceOptions", "build_retinaface"]

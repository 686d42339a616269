"""Heat maps of face landmarks: alignment/'s networks and their losses."""

from mxface.symbols.heatmap.network import HeatmapOptions, build_heatmap

__all__ = ["HeatmapOptions", "build_heatmap"]

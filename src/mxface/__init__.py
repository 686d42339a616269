"""The InsightFace research toolkit of May 2019 on today's machines.

Importing this package loads nothing heavy: take what you need from the sub-packages
(`mxface.formats`, `mxface.graph`, `mxface.symbols`, `mxface.lower`, `mxface.runtime`, …).
"""

__version__ = "0.1.0"

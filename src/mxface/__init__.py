"""The InsightFace research toolkit of May 2019 on today's machines.

Importing this package loads nothing heavy: take what you need from the sub-packages
(`mxface.formats`, `mxface.graph`, `mxface.symbols`, `mxface.lower`, `mxface.runtime`, …).
"""

import os

__version__ = "0.1.0"

# OpenMP's threads spin where they wait for each other. Beside any other busy program that makes torch on the CPU
# several times slower (docs/LOG.md). The setting counts only if it is there before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

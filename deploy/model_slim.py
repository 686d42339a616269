"""Cut a checkpoint at its embedding and drop the classifier.

cd deploy && python model_slim.py --model ../models/model-r34-amf/model,60
"""

import sys

from mxface.deploy.model_slim import main

if __name__ == "__main__":
    sys.exit(main())

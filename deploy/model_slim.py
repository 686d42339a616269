"""Cut a checkpoint at its embedding and drop the classifier.

cd deploy && python model_slim.py --model ../models/model-r34-amf/model,60
"""

from mxface.cli import open_door

if __name__ == "__main__":
    open_door("mxface.deploy.model_slim")

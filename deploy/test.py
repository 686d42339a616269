"""Gender, age, place and embedding of the face in a photograph; are two the same person?

cd deploy && python test.py --image a.jpg b.jpg --model ../models/y1/model,0
"""

import sys

from mxface.deploy.test import main

if __name__ == "__main__":
    sys.exit(main())

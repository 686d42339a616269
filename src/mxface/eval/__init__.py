"""Judges: they take `embed(uint8 BHWC RGB) -> float BD` and pairs of pictures, and never import training code.

roc            distances -> ten-fold accuracy, ROC, validation rate (numpy only)
protocol       PairSet, load_pair_set(path, image_size), verify(embed, pairs) -> VerificationResult
lfw            a PairSet from LFW's folders and pairs.txt
bad_cases      the wrongly judged pairs as two pictures (2019's --mode 1)
charts         curves and histograms as inline SVG
report         one HTML file that opens offline
verification   the command
"""

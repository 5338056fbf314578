"""The original PyTorch pipeline against ours, end to end, on pictures of many sizes and modes.

    python -m benchmarks.golden [--data DIR]

For every provider and precision of the installed ONNX Runtime: the smallest and the median cosine between
the vector of the original model with its own transform, and ours from the file's bytes.
"""

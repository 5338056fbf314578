"""The Open Inference Protocol (KServe v2): tensors of image files in, tensors of embeddings out.

Its one model is the backbone. A tensor has a row for each image, whatever
happens: an image that cannot be used has a row of NaN, and its reason is in
the output `error`.
"""

"""Looking into a collection: duplicates, outliers, clusters, maps.

All read the collection once, at one moment, and never hold all of its
vectors: time grows with the pairs of images where pairs are compared, memory
does not.
"""

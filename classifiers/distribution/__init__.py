"""What the embeddings looked like that a head was fitted on: to find unknowns, add classes and see drift."""

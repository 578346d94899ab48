"""Files, the same way everywhere: atomic writes, and listings that leave nothing out without a word.

The warehouse, the embeddings and the trainer know each other through files only. This package is what they share.
"""

"""What the warehouse, the embeddings and the trainer share: files, the same way everywhere, and what is installed.

They know each other through files only.
"""

"""`python -m embeddings`: the same as the `embeddings` command."""

from embeddings.cli import app

app()

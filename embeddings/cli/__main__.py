"""`python -m embeddings.cli`: the same as the `embeddings` command."""

from embeddings.cli import app

app()

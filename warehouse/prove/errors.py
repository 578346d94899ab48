class ProofError(Exception):
    """No proof is possible. The message says what was expected, what was found and what to do."""

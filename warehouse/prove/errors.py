from warehouse.project import ProjectError


class ProofError(ProjectError):
    """No proof is possible. The message says what was expected, what was found and what to do."""

"""What stops a build, in words for whoever runs it."""


class ReadingError(Exception):
    """A raw file, or a request for raw files, that can't be read as it is; the message says what to do."""

"""The one exception that a user's mistake raises."""


def printable(text: str) -> str:
    """A text as one line that any terminal shows: what cannot be printed stands as its escape."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class UserError(ValueError):
    """A mistake that the user can mend.

    Its message is one line that names what was given and the remedy; the commands print it without
    a traceback and end with exit status 2. Everything else that is raised is a bug and keeps its
    traceback.
    """

    def __init__(self, message: str = "") -> None:
        # A name that it quotes may hold line breaks, commands to the terminal, or stray bytes.
        super().__init__(printable(message))

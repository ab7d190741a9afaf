"""The root of every error that a user can mend."""


class Refusal(ValueError):
    """Input that cannot be used; the message names the file, the field and the fix.

    The command line prints it in one line and exits with 2; anything else is a defect of ours and
    keeps its traceback.
    """

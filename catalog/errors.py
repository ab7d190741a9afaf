"""The root of every error that a user can mend."""


class Refusal(ValueError):
    """Input that cannot be used; the message names the file, the field and the fix.

    The command line prints it in one line and exits with `exit_code`; anything else is a defect of
    ours and keeps its traceback.
    """

    exit_code = 2

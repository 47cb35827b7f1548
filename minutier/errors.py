"""Errors that people read: each says what happened, why, and what to do.

One root. `code` is stable and searchable, `clause` names the norm behind a rule where there is one, `remedy` is a
sentence, `retryable` says whether the same call may succeed later, `exit_code` is the command line's (docs/cli.md).
"""

from __future__ import annotations


class MinutierError(Exception):
    """Root of every expected error. Never raised bare: use a subclass that fixes the exit code."""

    exit_code = 1
    retryable = False

    def __init__(self, code: str, message: str, *, remedy: str, clause: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.clause = clause

    def as_dict(self) -> dict[str, str | bool]:
        """Give the error as the JSON object that `--json` prints."""
        return {
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "clause": self.clause,
            "retryable": self.retryable,
        }

    def __str__(self) -> str:
        return f"[{self.code}] {self.message} {self.remedy}".strip()


class BadInputError(MinutierError):
    """The caller gave something unusable; the same call will fail again. Exit 2."""

    exit_code = 2


class ServiceUnavailableError(MinutierError):
    """A store, database, time-stamp authority or disk did not answer; nothing is lost. Exit 3, try again."""

    exit_code = 3
    retryable = True


class PolicyRefusedError(MinutierError):
    """Retention, hold, right or visa forbids the act. Exit 4."""

    exit_code = 4


class IntegrityFailureError(MinutierError):
    """Bytes, a signature, a token or a chain do not match what was promised. Exit 1."""

    exit_code = 1


class RefusedDocumentError(MinutierError):
    """The document itself cannot be archived: the deposit ends REFUSED. Exit 2.

    `message` is the English sentence, `message_fr` the French one that the depositor reads.
    """

    exit_code = 2

    def __init__(self, code: str, message: str, message_fr: str, *, remedy: str = "", clause: str = "") -> None:
        super().__init__(code, message, remedy=remedy, clause=clause)
        self.message_fr = message_fr

"""Format `php`: PHP's `error_log`: `[22-Nov-2026 20:15:05 UTC] PHP Warning:  message`.

By the manual of PHP, "error_log" and "Predefined Constants" of errors, and `php_log_err` of
main/main.c; a message of the function error_log() has no level.
"""

from __future__ import annotations

from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants

_LEVELS = {
    "Warning": "Warning",
    "Notice": "Notice",
    "Fatal error": "Fatal error",
    "Deprecated": "notice",
    "Parse error": "error",
}
_OF_FPM = ("DEBUG", "NOTICE", "WARNING", "ERROR", "ALERT")
FORMAT = Variants(
    (
        *texts(
            "not_php",
            "[{time}] PHP {level}:  {message}",
            "[{time}] {message}",
            time="%d-%b-%Y %H:%M:%S %Z",
            levels=_LEVELS,
            samples=(
                "[22-Nov-2026 20:15:05 UTC] PHP Warning:  Undefined variable $a in /a.php on "
                "line 3",
                "[22-Nov-2026 20:15:05 Europe/Berlin] caf\u00e9 is closed",
            ),
        ),
        *texts(
            "not_php",
            "[{time}] {level}: {message}",
            "[{time}] {message}",
            time="%d-%b-%Y %H:%M:%S",
            levels={name: name for name in _OF_FPM},
        ),
    )
)

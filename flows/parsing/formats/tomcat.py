"""Format `tomcat`: `catalina.out` of Apache Tomcat.

By its documentation, "Logging in Tomcat", and the class org.apache.juli.OneLineFormatter.
"""

from __future__ import annotations

from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants

FORMAT = Variants(
    texts(
        "not_tomcat",
        "{time} {level:7} [{threadName}] {logger} {message}",
        time="%d-%b-%Y %H:%M:%S",
        samples=(
            "22-Nov-2026 20:15:05.123 INFO [main] org.apache.catalina.startup.Catalina.start "
            "Server startup in [345] milliseconds",
        ),
    )
)

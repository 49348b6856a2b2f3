r"""Grok to a definition: `%{TIMESTAMP_ISO8601:timestamp} %{LOGLEVEL:level} %{GREEDYDATA:message}`.

By the documentation of Logstash's filter grok, and the names of its patterns, of both kinds: the
older ones and those of ECS (`[source][address]`). What a pattern takes is said here anew, in plain
words: an address is anything that may be one. Names of fields are those of columns, or what the
keys of `json` are, or attributes. Lines are read one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from flows.parsing.dialects import DIALECTS, USUAL
from flows.parsing.layout import REQUEST, Field, Readers
from flows.parsing.times import CLF
from flows.parsing.translate.regex import MISFIT, Regex

_PIECE = re.compile(
    r"%\{(?P<pattern>[A-Z0-9_]+)(?::(?P<field>[^}:]+)(?::[a-z]+)?)?\}|\(\?<(?P<name>\w+)>"
    r"|(?P<escape>\\.)|\((?!\?)"
)
_MONTHS = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_CLOCK = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[:.,][0-9]+)?)?"
_ZONE = "(?:Z|[+-][0-9]{2}:?[0-9]{2})"
_ADDRESS = r"[0-9A-Za-z._:%-]+"
_PATTERNS = {
    "WORD": r"\w+",
    "NOTSPACE": r"\S+",
    "SPACE": r"\s*",
    "DATA": ".*?",
    "GREEDYDATA": ".*",
    "GREEDYMULTILINE": ".*",
    "INT": "[+-]?[0-9]+",
    "POSINT NONNEGINT": "[0-9]+",
    "NUMBER BASE10NUM": r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)",
    "BASE16NUM": "[+-]?(?:0x)?[0-9A-Fa-f]+",
    "IP IPV4 IPV6 HOSTNAME HOST IPORHOST SYSLOGHOST URIHOST": _ADDRESS,
    "HOSTPORT": rf"{_ADDRESS}:[0-9]+",
    "USER USERNAME": "[0-9A-Za-z._-]+",
    "HTTPDUSER": r"[0-9A-Za-z._@+-]+",
    "EMAILADDRESS": r"[^\s@]+@[0-9A-Za-z._-]+",
    "QS QUOTEDSTRING": r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""",
    "UUID": "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
    "MAC": "(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}",
    "PATH UNIXPATH WINPATH": r"(?:/|[A-Za-z]:\\|\\\\)\S*",
    "URI": r"[A-Za-z][0-9A-Za-z+.-]*://\S+",
    "URIPATH": r"/[^\s?]*",
    "URIPATHPARAM": r"/\S*",
    "URIPARAM": r"\?\S*",
    "PROG": r"[^\s\[\]]+",
    "SYSLOGFACILITY": "<[0-9]+(?:[.][0-9]+)?>",
    "LOGLEVEL": "[A-Za-z]+[0-9]?",
    "JAVACLASS JAVAMETHOD": r"[\w$.<>]+",
    "JAVAFILE": r"[\w .-]+",
    "JAVALOGMESSAGE": ".*",
    "YEAR": "[0-9]{2,4}",
    "MONTH": _MONTHS,
    "MONTHNUM MONTHDAY HOUR MINUTE": "[0-9]{1,2}",
    "SECOND": "[0-9]{1,2}(?:[:.,][0-9]+)?",
    "TIME": _CLOCK,
    "DAY": "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*",
    "TZ": "[A-Z]{3,4}",
    "ISO8601_TIMEZONE": _ZONE,
    "TIMESTAMP_ISO8601": rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK} ?{_ZONE}?",
    "TOMCAT_DATESTAMP": rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}} {_CLOCK} {_ZONE}",
    "SYSLOGTIMESTAMP": rf"{_MONTHS} +[0-9]{{1,2}} {_CLOCK}",
    "HTTPDATE": rf"[0-9]{{2}}/{_MONTHS}/[0-9]{{4}}:{_CLOCK} [+-][0-9]{{4}}",
    "HTTPDERROR_DATE": rf"[A-Z][a-z]{{2}} {_MONTHS} +[0-9]{{1,2}} {_CLOCK} [0-9]{{4}}",
    "CATALINA7_DATESTAMP CATALINA_DATESTAMP": (
        rf"[0-9]{{2}}-{_MONTHS}-[0-9]{{4}} [0-9]{{1,2}}:[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]+)?"
    ),
    "NGINX_ERROR_DATE": rf"[0-9]{{4}}/[0-9]{{2}}/[0-9]{{2}} {_CLOCK}",
}
_TIMES = {
    "SYSLOGTIMESTAMP": "%b %e %H:%M:%S",
    "HTTPDATE": CLF,
    "HTTPDERROR_DATE": "%a %b %e %H:%M:%S %Y",
    "CATALINA7_DATESTAMP": "%d-%b-%Y %H:%M:%S",
    "CATALINA_DATESTAMP": "%d-%b-%Y %H:%M:%S",
    "NGINX_ERROR_DATE": "%Y/%m/%d %H:%M:%S",
}
_REQUEST = '[^"\\\\]*(?:\\\\.[^"\\\\]*)*'
_COMMON = (
    "%{IPORHOST:clientip} %{HTTPDUSER:ident} %{DATA:auth} \\[%{HTTPDATE:timestamp}\\] "
    f'"(?<request>{_REQUEST})" (?:-|%{{NUMBER:response}}) (?:-|%{{NUMBER:bytes}})'
)
_COMBINED = f'{_COMMON} "(?<referrer>{_REQUEST})" "(?<agent>{_REQUEST})"'
_SYSLOG = (
    "%{SYSLOGTIMESTAMP:timestamp} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource} "
    "%{PROG:program}(?:\\[%{POSINT:pid}\\])?:"
)
_WHOLE = {
    "COMMONAPACHELOG HTTPD_COMMONLOG": _COMMON,
    "COMBINEDAPACHELOG HTTPD_COMBINEDLOG": _COMBINED,
    "SYSLOGBASE": _SYSLOG,
    "SYSLOGPROG": "%{PROG:program}(?:\\[%{POSINT:pid}\\])?",
    "SYSLOGLINE": f"{_SYSLOG} %{{GREEDYDATA:message}}",
}
_KNOWN = {name: text for names, text in _PATTERNS.items() for name in names.split()}
_MADE = {name: text for names, text in _WHOLE.items() for name in names.split()}
_OLD = {
    "clienthost": "client_ip",
    "response": "status_code",
    "auth": "customer_id",
    "agent": "user_agent",
    "logsource": "host",
    "request": REQUEST,
}
_ECS = next(dialect for dialect in DIALECTS if dialect.name == "ecs")
_COLUMNS = {
    **{alias.key: (alias.column, alias.shift or 0) for alias in (*USUAL.aliases, *_ECS.aliases)},
    **{name: (column, 0) for name, column in _OLD.items()},
}
"""Names of fields -> their columns; of durations, 10^shift of the unit are a second."""


def translate(text: str) -> Regex:
    """The definition. Raises `ValueError` for what it cannot mean, with the place."""
    fields: list[Field] = []
    try:
        pattern = re.compile("".join(_expression(text, fields)), re.DOTALL)
    except re.error as error:
        raise ValueError(f"no expression of grok: {error.msg}") from None
    if not any(field.column == "timestamp" for field in fields):
        raise ValueError("no field is named timestamp")
    return Regex(Readers(pattern, tuple(fields), "not_log_format", lambda _: MISFIT))


def _expression(text: str, fields: list[Field]) -> Iterator[str]:
    """The expression, piece by piece; adds a field for each of its groups."""
    at = 0
    for found in _PIECE.finditer(text):
        yield text[at : found.start()]
        at = found.end()
        name = found["pattern"]
        if found["name"]:
            _note(found["name"], "", fields)
            yield "("
        elif name in _MADE:
            yield from _expression(_MADE[name], fields)
        elif name in _KNOWN:
            if found["field"]:
                _note(found["field"], name, fields)
            yield f"({'' if found['field'] else '?:'}{_KNOWN[name]})"
        elif name:
            raise ValueError(f"%{{{name}}} at {found.start() + 1} is unknown")
        else:
            yield found["escape"] or "(?:"
    yield text[at:]


def _note(name: str, pattern: str, fields: list[Field]) -> None:
    """Add a field; of several for a column the first counts. Raises `ValueError`."""
    title = ".".join(re.findall(r"[^\[\]]+", name))
    if any(field.name == title for field in fields):
        raise ValueError(f"{name} is here more than once")
    column, shift = _COLUMNS.get(title, ("", 0))
    if any(field.column == column for field in fields):
        column = ""
    fields.append(Field(title, column, time=_TIMES.get(pattern), shift=shift))

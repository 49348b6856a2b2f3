"""What keys mean: those that all programs write, and those of programs that are known by them.

A line is of the first dialect of which it has all keys of one of the `tells`, at the top of the
line. Its keys come first; the others mean what they mean in every line. A key with dots is one that
is written so, or the way into objects and lists: `request.headers.Referer.0`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

_SHIFTS = {"s": 0, "ms": 3, "us": 6, "ns": 9}

NONE = {"-": ""}
"""What stands for no text."""

LEVELS = {"10": "trace", "20": "debug", "30": "info", "40": "warn", "50": "error", "60": "fatal"}
"""The levels of pino (docs/api.md, "logger.levels") and bunyan (README, "Levels")."""

SYSLOG = {
    str(number): name
    for number, name in enumerate(
        ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
    )
}
"""RFC 5424, section 6.2.1, by the names of syslog.h, which journald takes as well."""

OTEL = {
    str(number): name + (str(step) if step > 1 else "")
    for base, name in enumerate(["trace", "debug", "info", "warn", "error", "fatal"])
    for step, number in enumerate(range(4 * base + 1, 4 * base + 5), 1)
}
"""https://opentelemetry.io/docs/specs/otel/logs/data-model/#displaying-severity"""

AZURE = {
    str(number): name
    for number, name in enumerate(["critical", "error", "warning", "info", "verbose"], 1)
}
"""The levels of events of .NET (System.Diagnostics.Tracing.EventLevel)."""

NEXTCLOUD = dict(zip("01234", ("debug", "info", "warning", "error", "fatal"), strict=True))
"""The admin manual of Nextcloud, "Logging", "Log level"."""

MONGODB = {"F": "fatal", "E": "error", "W": "warning", "I": "info"} | {
    f"D{number}" if number else "D": "debug" for number in range(6)
}
"""The manual of MongoDB, "Log Messages", "Severity"."""


@dataclass(frozen=True)
class Alias:
    """A key in a line and the column it means.

    Of durations, 10^shift of its unit are a second; None: the key does not say. Texts that are
    `names` become what those say. With `address`, a port is left out; of several with commas
    between the first counts, and the key stays. With `octets`, it may be a list of bytes.
    """

    key: str
    column: str
    shift: int | None = 0
    names: Mapping[str, str] = field(default_factory=dict, hash=False)
    address: bool = False
    octets: bool = False

    def shift_or(self, unsaid: int) -> int:
        """The shift, or what it is where the key does not say."""
        return unsaid if self.shift is None else self.shift

    @cached_property
    def path(self) -> tuple[str, ...]:
        """The way to the value, where the key is not written with its dots."""
        return tuple(self.key.split("."))


def means(
    column: str,
    keys: str,
    unit: str | None = "s",
    names: Mapping[str, str] | None = None,
    *,
    address: bool = False,
    octets: bool = False,
) -> list[Alias]:
    """Keys, the first that fits counts; the unit is that of durations (None: nobody says)."""
    shift = None if unit is None else _SHIFTS[unit]
    return [Alias(key, column, shift, names or {}, address, octets) for key in keys.split()]


@dataclass(frozen=True, eq=False)
class Dialect:
    """What a program's keys mean, by which of them its lines are known, and who says so.

    A row of it without a level has the level `unsaid`. Of `plain` keys the usual meaning does not
    count: they are attributes.
    """

    name: str
    tells: tuple[tuple[str, ...], ...]
    aliases: tuple[Alias, ...]
    unsaid: str = ""
    plain: frozenset[str] = frozenset()


def _dialect(
    name: str, tells: str, *meanings: list[Alias], unsaid: str = "", plain: str = ""
) -> Dialect:
    """`tells` are keys; between `|` stand others that would do."""
    known = tuple(tuple(each.split()) for each in tells.split("|") if each)
    aliases = tuple(alias for each in meanings for alias in each)
    return Dialect(name, known, aliases, unsaid, frozenset(plain.split()))


USUAL = _dialect(
    "usual",
    "",
    means("timestamp", "timestamp ts time @timestamp datetime"),
    means("timestamp", "eventTime event_time eventtime Timestamp Time _time date instant"),
    means("timestamp", "start_time started_at created_at logged_at"),
    means("customer_id", "customer_id customer client_id tenant_id tenant visited_by"),
    means("method", "method http_method request_method verb"),
    means("request_path", "request_path path uri url request_uri path_info"),
    means("status_code", "status_code status http_status"),
    means("duration", "duration", None),
    means("duration", "duration_s duration_seconds request_time"),
    means("duration", "duration_ms latency_ms elapsed_ms response_time_ms", "ms"),
    means("duration", "duration_us latency_us elapsed_us", "us"),
    means("duration", "duration_ns latency_ns elapsed_ns", "ns"),
    means("client_ip", "client_ip ip remote_addr remote_ip clientip ip_address"),
    means("user_agent", "user_agent ua http_user_agent"),
    means("referer", "referer referrer http_referer"),
    means("bytes_sent", "bytes_sent bytes body_bytes_sent response_size"),
    means("level", "level severity loglevel lvl log_level levelname Level", names=LEVELS),
    means("level", "log.level logLevel LogLevel Severity LEVEL SEVERITY", names=LEVELS),
    means("message", "message msg Message"),
    means("host", "host hostname"),
)
"""What keys mean wherever they are. Times are ISO 8601, or numbers since 1970 that tell their unit
by their size. Durations are the nearest to what is written: 48.31 ms are 0.04831 s. nginx's
`request_time` is always in seconds."""

ALIASES = USUAL.aliases
"""The usual keys, the first that fits a column counts."""

DIALECTS = (
    # OpenTelemetry, the file exporter: requests of OTLP in JSON (opentelemetry-proto, logs.proto).
    # Of several records in a line the first one gives the columns.
    _dialect(
        "otel",
        "resourceLogs",
        *(
            means(column, f"resourceLogs.0.scopeLogs.0.logRecords.0.{key}", names=names)
            for column, key, names in (
                ("timestamp", "timeUnixNano", None),
                ("timestamp", "observedTimeUnixNano", None),
                ("level", "severityText", None),
                ("level", "severityNumber", OTEL),
                ("message", "body.stringValue", None),
                ("message", "body", None),
            )
        ),
    ),
    # The data model of OpenTelemetry's logs, as its SDKs print it.
    _dialect(
        "otel_sdk",
        "severity_number body | severityNumber body | SeverityNumber Body",
        means("timestamp", "timestamp timeUnixNano Timestamp observed_timestamp"),
        means("level", "severity_text severityText SeverityText"),
        means("level", "severity_number severityNumber SeverityNumber", names=OTEL),
        means("message", "body.stringValue body Body"),
    ),
    # MongoDB 4.4 and later: its manual, "Log Messages".
    _dialect(
        "mongod",
        "t c ctx",
        means("timestamp", "t.$date"),
        means("level", "s", names=MONGODB),
        means("duration", "attr.durationMillis", "ms"),
        means("client_ip", "attr.remote attr.client", address=True),
    ),
    # systemd's journal, `journalctl -o json`: systemd.journal-fields(7), and "Journal JSON Format"
    # of its documentation: a text that is not all printable is a list of bytes.
    _dialect(
        "journald",
        "__REALTIME_TIMESTAMP",
        means("timestamp", "__REALTIME_TIMESTAMP"),
        means("level", "PRIORITY", names=SYSLOG),
        means("message", "MESSAGE", octets=True),
        means("host", "_HOSTNAME"),
    ),
    # AWS CloudTrail: its user guide, "CloudTrail record contents".
    _dialect(
        "cloudtrail",
        "eventVersion eventSource eventName",
        means("timestamp", "eventTime"),
        means("customer_id", "userIdentity.userName userIdentity.principalId"),
        means("client_ip", "sourceIPAddress"),
        means("user_agent", "userAgent"),
        means("message", "eventName"),
        means("host", "eventSource"),
    ),
    # Azure: "Common and service-specific schemas for Azure resource logs". What Microsoft Defender
    # XDR streams is of it, too ("Streaming API"): there, `time` is when an event was received.
    _dialect(
        "azure",
        "time category operationName | time tenantId category properties",
        means("timestamp", "properties.Timestamp time"),
        means("level", "level Level", names=AZURE),
        means("duration", "durationMs", "ms"),
        means("client_ip", "callerIpAddress", address=True),
        means("message", "operationName"),
    ),
    # Palo Alto Networks: the log reference of its Strata Logging Service, in JSON.
    _dialect(
        "panos",
        "TimeGenerated LogType | EventTime LogTime LogType",
        means("timestamp", "TimeGenerated EventTime"),
        means("customer_id", "SourceUser"),
        means("client_ip", "SourceAddress"),
        means("bytes_sent", "BytesSent"),
        means("level", "VendorSeverity Severity"),
        means("host", "DeviceName"),
    ),
    # Kubernetes: the reference of its API `audit.k8s.io/v1`, "Event". `level` says how much of a
    # request is logged.
    _dialect(
        "kubernetes_audit",
        "auditID stage",
        means("timestamp", "requestReceivedTimestamp stageTimestamp"),
        means("customer_id", "user.username"),
        means("method", "verb"),
        means("request_path", "requestURI"),
        means("status_code", "responseStatus.code"),
        means("client_ip", "sourceIPs.0"),
        means("user_agent", "userAgent"),
        plain="level",
    ),
    # Fortinet: its FortiOS log reference, "Log field format"; `date` has no zone.
    _dialect(
        "fortinet",
        "date time eventtime logid | date time devname | date time device_id log_id pri",
        means("timestamp", "eventtime"),
        means("level", "level pri"),
        means("client_ip", "srcip remip"),
        means("host", "devname"),
        means("message", "msg logdesc"),
        means("bytes_sent", "sentbyte"),
    ),
    # SonicWall: its SonicOS log events reference guide, "Syslog tags".
    _dialect("sonicwall", "sn fw pri m", means("level", "pri", names=SYSLOG)),
    # Sophos Firewall: its guide to syslog messages, "Log fields".
    _dialect(
        "sophos",
        "date time log_type log_component",
        means("level", "priority"),
        means("client_ip", "src_ip"),
        means("host", "device_name"),
    ),
    # Monolog, JsonFormatter: its documentation, "Handlers, Formatters and Processors".
    _dialect(
        "monolog",
        "level_name channel",
        means("timestamp", "datetime.date datetime"),
        means("level", "level_name"),
    ),
    # Graylog Extended Log Format 1.1: its documentation, "GELF Payload Specification".
    _dialect(
        "gelf",
        "short_message version",
        means("level", "level", names=SYSLOG),
        means("message", "short_message"),
    ),
    # Caddy 2: its documentation, "log" (directive), and modules/caddyhttp/marshalers.go.
    _dialect(
        "caddy",
        "resp_headers request | request bytes_read",
        means("customer_id", "user_id"),
        means("method", "request.method"),
        means("request_path", "request.uri"),
        means("duration", "duration"),
        means("client_ip", "request.client_ip request.remote_ip"),
        means("user_agent", "request.headers.User-Agent.0"),
        means("referer", "request.headers.Referer.0"),
        means("bytes_sent", "size"),
        means("host", "request.host"),
    ),
    # Traefik: its documentation, "Access Logs", "Available Fields". Durations are those of Go.
    _dialect(
        "traefik",
        "DownstreamStatus",
        means("timestamp", "StartUTC StartLocal"),
        means("customer_id", "ClientUsername", names=NONE),
        means("method", "RequestMethod"),
        means("request_path", "RequestPath"),
        means("status_code", "DownstreamStatus"),
        means("duration", "Duration", "ns"),
        means("client_ip", "ClientHost"),
        means("user_agent", "request_User-Agent"),
        means("referer", "request_Referer"),
        means("bytes_sent", "DownstreamContentSize"),
        means("host", "RequestHost"),
    ),
    # Envoy: its documentation, "Access logging", and Istio's, "Envoy Access Logs", with their keys.
    _dialect(
        "envoy",
        "response_flags response_code | response_code start_time",
        means("timestamp", "start_time"),
        means("method", "method", names=NONE),
        means("request_path", "path x_envoy_original_path", names=NONE),
        means("status_code", "response_code"),
        means("duration", "duration", "ms"),
        means("client_ip", "x_forwarded_for downstream_remote_address", names=NONE, address=True),
        means("user_agent", "user_agent", names=NONE),
        means("host", "authority", names=NONE),
    ),
    # Cloudflare: its documentation, "Logs", "HTTP requests".
    _dialect(
        "cloudflare",
        "EdgeStartTimestamp | EdgeResponseStatus",
        means("timestamp", "EdgeStartTimestamp EdgeEndTimestamp"),
        means("method", "ClientRequestMethod"),
        means("request_path", "ClientRequestURI ClientRequestPath"),
        means("status_code", "EdgeResponseStatus"),
        means("duration", "EdgeTimeToFirstByteMs OriginResponseDurationMs", "ms"),
        means("client_ip", "ClientIP"),
        means("user_agent", "ClientRequestUserAgent"),
        means("referer", "ClientRequestReferer"),
        means("bytes_sent", "EdgeResponseBytes"),
        means("host", "ClientRequestHost"),
    ),
    # PostgreSQL 15 and later, `log_destination = jsonlog`: its manual, table "Keys and Values of
    # JSON Log Entries"; "Message Severity Levels" says how severe LOG is.
    _dialect(
        "postgresql",
        "error_severity",
        means("customer_id", "user"),
        means("client_ip", "remote_host", names={"[local]": ""}),
        means("level", "error_severity", names={"LOG": "info"}),
    ),
    # nginx with `log_format ... escape=json` and the names of its variables: ngx_http_log_module.
    _dialect(
        "nginx",
        "time_iso8601 | msec | time_local",
        means("timestamp", "time_iso8601 msec time_local"),
        means("customer_id", "remote_user", names=NONE),
        means("host", "host http_host server_name"),
    ),
    # Rails with the gem lograge: its README, and lib/lograge/log_subscribers.
    _dialect(
        "lograge",
        "controller action format | controller action view",
        means("duration", "duration", "ms"),
    ),
    # Heroku's router: its documentation, "Heroku Router", "Log format".
    _dialect(
        "heroku",
        "dyno at connect",
        means("duration", "service", "ms"),
        means("client_ip", "fwd", address=True),
        means("level", "at"),
    ),
    # Serilog.Formatting.Compact (CLEF): its README, and Serilog.AspNetCore's of requests.
    _dialect(
        "serilog_compact",
        "@t",
        means("timestamp", "@t"),
        means("method", "RequestMethod"),
        means("request_path", "RequestPath"),
        means("status_code", "StatusCode"),
        means("duration", "Elapsed ElapsedMilliseconds", "ms"),
        means("client_ip", "ClientIp"),
        means("level", "@l"),
        means("message", "@m @mt"),
        unsaid="Information",
    ),
    # Serilog.Formatting.Json, and the console of Microsoft.Extensions.Logging.
    _dialect(
        "dotnet",
        "MessageTemplate Timestamp | LogLevel Category",
        means("timestamp", "Timestamp"),
        means("method", "Properties.RequestMethod"),
        means("request_path", "Properties.RequestPath"),
        means("status_code", "Properties.StatusCode"),
        means("duration", "Properties.Elapsed Properties.ElapsedMilliseconds", "ms"),
        means("level", "Level LogLevel"),
        means("message", "RenderedMessage Message MessageTemplate"),
    ),
    # loguru with `serialize=True`: its documentation, "The record dict".
    _dialect(
        "loguru",
        "record text",
        means("timestamp", "record.time.timestamp"),
        means("level", "record.level.name"),
        means("message", "record.message text"),
    ),
    # python-json-logger, and others that take the names of Python's `logging.LogRecord`.
    _dialect(
        "python",
        "levelname | asctime",
        means("timestamp", "asctime created"),
        means("level", "levelname"),
    ),
    # Log4j 2: its manual, "JSON Layout".
    _dialect(
        "log4j2",
        "loggerFqcn | endOfBatch | instant loggerName | timeMillis loggerName",
        means("timestamp", "instant timeMillis"),
        means("message", "message logEvent.message"),
    ),
    # logstash-logback-encoder: its README, "Standard Fields" of events and of accesses.
    _dialect(
        "logstash",
        "@version",
        means("level", "log.level"),
        means("request_path", "requested_uri"),
        means("duration", "elapsed_time", "ms"),
        means("client_ip", "remote_host"),
        means("bytes_sent", "content_length"),
        means("host", "HOSTNAME"),
    ),
    # Elastic Common Schema: its reference of fields, and ecs-logging's specification.
    _dialect(
        "ecs",
        "ecs.version | ecs | log.level",
        means("customer_id", "user.name user.id"),
        means("method", "http.request.method"),
        means("request_path", "url.original url.path"),
        means("status_code", "http.response.status_code"),
        means("duration", "event.duration", "ns"),
        means("client_ip", "client.ip source.ip client.address source.address"),
        means("user_agent", "user_agent.original"),
        means("referer", "http.request.referrer"),
        means("bytes_sent", "http.response.body.bytes http.response.bytes"),
        means("level", "log.level"),
        means("host", "host.name host.hostname"),
    ),
    # Google Cloud's "Structured logging": the special fields of JSON.
    _dialect(
        "google",
        "httpRequest",
        means("method", "httpRequest.requestMethod"),
        means("request_path", "httpRequest.requestUrl"),
        means("status_code", "httpRequest.status"),
        means("duration", "httpRequest.latency"),
        means("client_ip", "httpRequest.remoteIp"),
        means("user_agent", "httpRequest.userAgent"),
        means("referer", "httpRequest.referer"),
        means("bytes_sent", "httpRequest.responseSize"),
    ),
    # pino-http and bunyan's serializers of requests (pino-std-serializers, bunyan's README).
    _dialect(
        "node",
        "req | responseTime level",
        means("method", "req.method"),
        means("request_path", "req.url"),
        means("status_code", "res.statusCode"),
        means("duration", "responseTime", "ms"),
        means("client_ip", "req.remoteAddress"),
        means("user_agent", "req.headers.user-agent"),
        means("referer", "req.headers.referer req.headers.referrer"),
        means("bytes_sent", "res.headers.content-length"),
    ),
    # hclog of HashiCorp (intlogger.go).
    _dialect(
        "hclog",
        "@message @level",
        means("level", "@level"),
        means("message", "@message"),
    ),
    # Grafana's own log: its documentation, "Configure Grafana", "log"; before version 9 `lvl`.
    _dialect(
        "grafana",
        "lvl | logger t",
        means("timestamp", "t"),
        means("customer_id", "uname"),
        means("level", "lvl"),
        means("bytes_sent", "size"),
        means("duration", "time_ms", "ms"),
    ),
    # Nextcloud and ownCloud: the admin manual of Nextcloud, "Logging".
    _dialect(
        "nextcloud",
        "reqId remoteAddr level",
        means("level", "level", names=NEXTCLOUD),
        means("customer_id", "user", names={"--": ""}),
        means("client_ip", "remoteAddr"),
        means("user_agent", "userAgent"),
    ),
    # structlog: its documentation, "Logging Best Practices" (JSONRenderer).
    _dialect(
        "structlog",
        "event timestamp level",
        means("message", "message msg event"),
    ),
    # Fluent Bit: its manual, "JSON lines" of outputs, and the filter `kubernetes`.
    _dialect(
        "fluent_bit",
        "date log | kubernetes log",
        means("timestamp", "date"),
        means("message", "log"),
        means("host", "kubernetes.host"),
    ),
)
"""The dialects, the more special before others."""

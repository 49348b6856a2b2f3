"""The rows as OpenTelemetry names them: a view for what reads the Collector's tables.

Its columns are those of the table of logs of the Collector's exporter for ClickHouse, as in
https://clickhouse.com/docs/use-cases/observability/clickstack/ingesting-data/schemas, the names of
attributes those of https://opentelemetry.io/docs/specs/semconv/, the numbers of severities those of
https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber.
"""

from __future__ import annotations

from clickhouse_connect.driver.binding import quote_identifier
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.saying import say
from connectors.severity import LEVELS
from connectors.sinks.clickhouse.errors import reason

# A request without a level has the severity of its status. 5 of `DEBUG` and so on are the lowest
# of four numbers each.
_SEVERITY = """multiIf(level != '', level, status_code >= 500, 'error', status_code >= 400, 'warn',
        status_code > 0, 'info', '')"""
_NUMBER = "multiIf({}, 0)".format(
    ", ".join(
        f"match(lower(SeverityText), '^({'|'.join(words)})'), {number}"
        for number, words in LEVELS.items()
    )
)

_OF_REQUESTS = {
    "http.request.method": "method",
    "url.path": "request_path",
    "http.route": "endpoint",
    "http.response.status_code": "if(status_code > 0, toString(status_code), '')",
    "http.response.body.size": "if(status_code > 0, toString(bytes_sent), '')",
    "http.server.request.duration": "ifNull(toString(duration), '')",
    "client.address": "client_ip",
    "user_agent.original": "user_agent",
    "http.request.header.referer": "referer",
    "logwax.customer_id": "customer_id",
}
_ATTRIBUTES = ", ".join(f"'{name}', {value}" for name, value in _OF_REQUESTS.items())

_TYPE = "Map(LowCardinality(String), String)"

_VIEW = f"""
CREATE VIEW IF NOT EXISTS {{view:Identifier}} AS SELECT
    timestamp AS Timestamp,
    toDateTime(timestamp) AS TimestampTime,
    JSONExtractString(attributes, 'trace_id') AS TraceId,
    JSONExtractString(attributes, 'span_id') AS SpanId,
    toUInt8(0) AS TraceFlags,
    {_SEVERITY} AS SeverityText,
    toUInt8({_NUMBER}) AS SeverityNumber,
    JSONExtractString(attributes, 'service') AS ServiceName,
    if(message != '' OR method = '', message, concat(method, ' ', request_path)) AS Body,
    '' AS ResourceSchemaUrl,
    CAST(map('host.name', host, 'log.file.path', source), '{_TYPE}') AS ResourceAttributes,
    '' AS ScopeSchemaUrl,
    '' AS ScopeName,
    '' AS ScopeVersion,
    CAST(map(), '{_TYPE}') AS ScopeAttributes,
    CAST(mapFilter((name, value) -> value != '', mapUpdate(
        JSONExtract(attributes, 'Map(String, String)'),
        map({_ATTRIBUTES}))), '{_TYPE}') AS LogAttributes,
    '' AS EventName
FROM """  # the name of the table: in a view it cannot be a parameter

_IS_THERE = """
SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = {view:String}
"""


def make_view(client: Client, table: str) -> None:
    """Make the view `otel_<table>` where nothing has this name; say so where that is refused."""
    name = {"view": f"otel_{table}"}
    try:
        if not client.query(_IS_THERE, name).result_rows[0][0]:
            client.command(_VIEW + quote_identifier(table), name)
    except ClickHouseError as error:
        say(f"There is no view otel_{table}, for what reads OpenTelemetry's logs: {reason(error)}")

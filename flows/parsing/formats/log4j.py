"""Format `log4j`: what programs in Java write by log4j, logback and the like.

The patterns that the configuration of these has: `log4j.properties` of Hadoop and HBase
(`%d{ISO8601} %p [%t] %c: %m`), of Spark (`%d{yy/MM/dd HH:mm:ss} %p %c{1}: %m`), of ZooKeeper
(`%d{ISO8601} [myid:%X{myid}] - %-5p [%t:%C{1}@%L] - %m`), Kafka (`[%d] %p %m (%c)`), ActiveMQ and
Solr; `logback.xml` of Cassandra; the defaults of WildFly, Quarkus, Jenkins and logback. HDFS had
`%d{yyMMdd HHmmss}` in the days of Loghub's set.
"""

from __future__ import annotations

from flows.parsing.colours import Coloured
from flows.parsing.formats.app import SLASHES, texts
from flows.parsing.layout import Variants

_LOGGED = (
    "{time} {level:5} [{threadName}] {logger:40}: {message}",
    "{time} [{threadName}] {level:5} {logger:40} - {message}",
    "{time} [{threadName}] {level:5} {logger:40}: {message}",
    "{time} {level:5} [{threadName}] {logger:40} - {message}",
)
FORMAT = Coloured(
    Variants(
        (
            *texts(
                "not_log4j",
                *_LOGGED,
                "{time} - {level:5} [{threadName}] - {message}",
                "{time} [myid:{myid}] - {level:5} [{threadName}] - {message}",
                "[{time}] {level:5} {message} ({logger})",
                "{time} {level:5} ({threadName}) [] {logger} {message}",
                "{time} {level:5} ({threadName}) [ {context}] {logger} {message}",
                "{time} {level:5} ({threadName}) [c:{context}] {logger} {message}",
                "{time} {level:5} [{logger}] ({threadName}) {message}",
                "{time} {level:5} : {logger} - {message}",
                "{time} {level:5} {logger:60} [{context}] - {message}",
                "{time} {level:5} [{threadName}] {user} {logger} - {message}",
                "{time} {level:5} [{threadName}] [{logger}] {message}",
                "{time} [{threadName}] {level:5} {logger} [{context}] - {message}",
                "{time} [{service:5}] [{level:5}] [{trace}] [{caller}] [{threadName}] - {message}",
                "{level:5} {time} [{shard}] {logger} - {message}",
                "{time} | {level:5} | {message} | {logger} | {threadName}",
                "{level:5} [{threadName}] {time} {filename}:{lineno} - {message}",
                "{time} [id={thread_id}]\t{level}\t{logger}: {message}",
                samples=(
                    "2026-11-22 20:15:05,123 WARN  [main] com.example.shop.Orders: disk 91% full",
                ),
            ),
            *texts(
                "not_log4j",
                "{time} {level} {logger}: {message}",
                *_LOGGED,
                time="%y/%m/%d %H:%M:%S",
            ),
            *texts("not_log4j", *_LOGGED, time=SLASHES),
            *texts(
                "not_log4j",
                "[{time}] [{threadName}/{level}] [{logger}]: {message}",
                time="%d%b%Y %H:%M:%S",
            ),
            *texts(
                "not_log4j", "{time} [{threadName}] {level} - {message}", time="%b %e, %Y %H:%M:%S"
            ),
            *texts(
                "not_log4j",
                "{time} {level:5} {program}[{context}][{logger}] {message}",
                time="%Y.%m.%d %H:%M:%S",
            ),
            *texts(
                "not_log4j", "{time} {thread} {level} {logger}: {message}", time="%y%m%d %H%M%S"
            ),
        )
    )
)

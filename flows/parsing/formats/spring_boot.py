"""Format `spring_boot`: `time LEVEL pid --- [app] [thread] logger : message`.

By the reference of Spring Boot, "Log Format", of 2.x and 3.x: an application's name, and the
correlation of traces, are there where they are set.
"""

from __future__ import annotations

from flows.parsing.colours import Coloured
from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants

_BEGIN, _END = "{time} {level:5} {process} ---", "{logger:40} : {message}"
FORMAT = Coloured(
    Variants(
        texts(
            "not_spring_boot",
            f"{_BEGIN} [{{app}}] [{{threadName:15}}] [{{correlation}}] {_END}",
            f"{_BEGIN} [{{app}}] [{{threadName:15}}] {_END}",
            f"{_BEGIN} [{{threadName:15}}] {_END}",
            samples=(
                "2026-11-22 20:15:05.123  INFO 1234 --- [           main] com.example.shop.App"
                "                     : order 4711 stored",
            ),
        )
    )
)

"""Format `ruby`: `I, [time #pid]  INFO -- program: message`, as Ruby's Logger and Rails write it.

By the documentation of the class Logger, "Format", and Logger::Formatter. Also the line with which
Rails begins a request (Rails::Rack::Logger), and Sidekiq's (`Sidekiq::Logger::Formatters`).
"""

from __future__ import annotations

from flows.parsing.colours import Coloured
from flows.parsing.formats.app import LEVELS, texts
from flows.parsing.layout import Field, Layout, Variants
from native.lines import Shape

FORMAT = Coloured(
    Variants(
        (
            *texts(
                "not_ruby",
                *(
                    f"{letter}, [{{time}} #{{process}}] {{level:5}} -- {{program}}: {{message}}"
                    for letter in "IDWEFA"
                ),
                levels={**LEVELS, "ANY": "ANY"},
                samples=("I, [2026-11-22T20:15:05.123456 #1234]  INFO -- shop: order 4711 stored",),
            ),
            Layout(
                (
                    *("Started ", Field("method", "method"), ' "'),
                    *(Field("path", "request_path", Shape.WORDS), '" for '),
                    *(Field("client", "client_ip"), " at "),
                    Field("time", "timestamp", time="%Y-%m-%d %H:%M:%S %z"),
                ),
                ('Started GET "/a?b=c" for 203.0.113.7 at 2026-11-22 20:15:05 +0000',),
                "not_ruby",
            ),
            *texts(
                "not_ruby",
                "{time} pid={process} tid={thread} {level}: {message}",
                "{time} pid={process} tid={thread} {context} {level}: {message}",
                "{time} {process} TID-{thread} {level}: {message}",
                "{time} {process} TID-{thread} {context} {level}: {message}",
            ),
        )
    )
)

"""What programs print: each text is one event, a line of a logger and the trace behind it."""

from __future__ import annotations

JAVA = """\
2026-11-22 20:15:05,120 ERROR [main] c.a.Shop - order 7 failed
java.lang.IllegalStateException: Could not save the order
\tat com.acme.shop.Orders.save(Orders.java:117)
\tat java.base/java.lang.Thread.run(Thread.java:840)
\tSuppressed: java.io.IOException: close failed
\t\tat com.acme.shop.Pool.close(Pool.java:31)
Caused by: java.sql.SQLException: connection reset
\tat com.acme.shop.Pool.take(Pool.java:12)
\t... 12 more
"""

PYTHON = """\
2026-11-22 20:15:05,120 ERROR shop: order 7 failed
Traceback (most recent call last):
  File "/srv/shop.py", line 7, in save
    pool.take()
    ~~~~~~~~~^^
ConnectionResetError: [Errno 104] Connection reset by peer

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/shop.py", line 9, in save
    raise NotSaved(order) from None
shop.errors.NotSaved: 7
"""

GO = """\
2026/11/22 20:15:05 http: panic serving 127.0.0.1:51234: runtime error: index out of range [5]
goroutine 19 [running]:
net/http.(*conn).serve.func1()
\t/usr/local/go/src/net/http/server.go:1868 +0xb9
panic({0x6b3f20?, 0xc00001e0a8?})
\t/usr/local/go/src/runtime/panic.go:920 +0x270
main.(*Shop).save(0xc000012345, {0x7f1c, 0x10})
\t/srv/shop/main.go:17 +0x1d
main.main.func1({0x7a1bc8, 0xc0000e2000}, 0xc0000f4000)
\t/srv/shop/main.go:31 +0x9a
net/http.HandlerFunc.ServeHTTP(...)
\t/usr/local/go/src/net/http/server.go:2136
created by net/http.(*Server).Serve in goroutine 1
\t/usr/local/go/src/net/http/server.go:3086 +0x5cb
"""

GO_CRASH = """\
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x47e2d9]

goroutine 1 [running]:
main.save(...)
\t/srv/shop/main.go:9
main.main()
\t/srv/shop/main.go:13 +0x19
exit status 2
"""

RUBY = """\
E, [2026-11-22T20:15:05.120456 #71] ERROR -- : order 7 failed
/srv/shop/pool.rb:12:in `take': connection reset (Shop::PoolError)
\tfrom /srv/shop/orders.rb:17:in `save'
\tfrom bin/shop:3:in `<main>'
/srv/shop/socket.rb:4:in 'read': closed (IOError)
\tfrom /srv/shop/pool.rb:10:in `take'
"""

DOTNET = """\
2026-11-22 20:15:05.120 +00:00 [ERR] order 7 failed
System.InvalidOperationException: Could not save the order
 ---> System.IO.IOException: connection reset
   at Acme.Pool.Take() in /srv/Pool.cs:line 12
   --- End of inner exception stack trace ---
   at Acme.Shop.Save(Int32 order) in /srv/Shop.cs:line 17
--- End of stack trace from previous location ---
   at Program.<Main>$(String[] args) in /srv/Program.cs:line 3
"""

JS = """\
2026-11-22T20:15:05.120Z error: order 7 failed
TypeError: Cannot read properties of undefined (reading 'take')
    at Shop.save (/srv/shop.js:17:10)
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5) {
  code: 'ERR_POOL',
  [cause]: Error: connection reset
      at Pool.take (/srv/pool.js:12:9)
}
"""

PHP = """\
[22-Nov-2026 20:15:05 UTC] PHP Fatal error:  Uncaught PDOException: reset in /srv/Pool.php:12
Stack trace:
#0 /srv/Shop.php(17): Pool->take()
#1 {main}

Next RuntimeException: Could not save the order in /srv/Shop.php:19
Stack trace:
#0 /srv/index.php(3): Shop->save()
#1 {main}
  thrown in /srv/Shop.php on line 19
"""

LARAVEL = """\
[2026-11-22 20:15:05] production.ERROR: reset {"exception":"[object] (PDOException: reset at x:12)
[stacktrace]
#0 /srv/Shop.php(17): Pool->take()
#1 {main}
"}
"""

TRACES = {
    "java": [JAVA],
    "python": [PYTHON],
    "go": [GO, GO_CRASH],
    "ruby": [RUBY],
    "dotnet": [DOTNET],
    "js": [JS],
    "php": [PHP, LARAVEL],
}
"""Presets of `LOG_MULTILINE` -> events."""

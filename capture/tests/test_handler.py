"""`LogwaxHandler` and `LogwaxLogger`: every call is one line in the file, whatever happens."""

import datetime
import decimal
import gc
import json
import logging
import logging.config
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import types
import uuid
from pathlib import Path

import pytest

from logwax_capture.handler import LONGEST, LogwaxHandler, LogwaxLogger

BOTH = pytest.mark.parametrize("kind", [logging.Logger, LogwaxLogger])


@pytest.fixture
def file(tmp_path):
    return tmp_path / "app.log"


@pytest.fixture
def handler(file):
    handler = LogwaxHandler(file)
    yield handler
    handler.close()


@pytest.fixture
def logger(handler):
    return logger_of(logging.Logger, handler)


def logger_of(kind, *handlers):
    logger = kind("shop.orders", logging.DEBUG)
    for handler in handlers:
        logger.addHandler(handler)
    return logger


def lines(*files):
    """The objects of all lines; fails if one is none."""
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def run(code, *arguments, **options):
    """A program of its own with these lines."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        text=True,
        **options,
    )


# What a line has


@BOTH
def test_a_line_has_time_level_logger_message_process_thread_and_the_fields_of_extra(
    kind, handler, file
):
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(microseconds=1)
    logger_of(kind, handler).warning(
        "order %d of %s is paid", 7, "Jörg", extra={"customer_id": "c-1", "paid": True, "n": 1.5}
    )
    (line,) = lines(file)
    when = datetime.datetime.fromisoformat(line.pop("timestamp").replace("Z", "+00:00"))
    assert before <= when <= datetime.datetime.now(datetime.timezone.utc)
    assert line == {
        "level": "WARNING",
        "logger": "shop.orders",
        "message": "order 7 of Jörg is paid",
        "process": os.getpid(),
        "thread": threading.current_thread().name,
        "customer_id": "c-1",
        "paid": True,
        "n": 1.5,
    }
    assert "Jörg".encode() in file.read_bytes(), "a text is there as people search for it"


@BOTH
def test_a_mapping_as_the_only_argument_is_the_source_of_the_values(kind, handler, file):
    logger_of(kind, handler).info("%(who)s paid", {"who": "c-1"})
    assert lines(file)[0]["message"] == "c-1 paid"


def test_the_time_is_utc_and_the_records_to_the_microsecond(handler, file, in_kolkata):
    for created in (1764171600.9999999, 1764171600.000001, 0.25):
        handler.handle(logging.makeLogRecord({"created": created}))
    assert [line["timestamp"] for line in lines(file)] == [
        "2025-11-26T15:40:01.000000Z",
        "2025-11-26T15:40:00.000001Z",
        "1970-01-01T00:00:00.250000Z",
    ]


@BOTH
def test_a_field_of_extra_never_takes_the_place_of_the_lines_own(kind, handler, file):
    logger_of(kind, handler).info("x", extra={"level": "gold", "timestamp": 1, "trace_id": "t"})
    (line,) = lines(file)
    assert line["level"] == "INFO"
    assert (line["extra_level"], line["extra_timestamp"], line["extra_trace_id"]) == (
        "gold",
        1,
        "t",
    )


@BOTH
def test_a_field_of_extra_that_records_have_themselves_is_refused_as_logging_does(kind, handler):
    with pytest.raises(KeyError, match="Attempt to overwrite 'name'"):
        logger_of(kind, handler).info("x", extra={"name": "y", "order": 7})


def test_what_others_leave_in_a_record_is_no_field_of_extra(handler, file, tmp_path):
    other = logging.FileHandler(tmp_path / "other.log")
    other.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger_of(logging.Logger, other, handler).info("x", extra={"a": 1, "b": 2})
    other.close()
    assert list(lines(file)[0])[6:] == ["a", "b"]


def test_fields_are_found_whatever_order_a_record_has_them_in(handler, file):
    class Early(logging.LogRecord):
        def __init__(self, *arguments, **named):
            self.tenant = "t-1"
            super().__init__(*arguments, **named)

    record = Early("shop", logging.INFO, "f.py", 1, "x", (), None)
    del record.args
    record.late, record.args = 1, ()
    handler.handle(record)
    assert {key: value for key, value in lines(file)[0].items() if key in ("tenant", "late")} == {
        "tenant": "t-1",
        "late": 1,
    }


@BOTH
def test_an_exception_is_there_with_its_trace(kind, handler, file):
    logger = logger_of(kind, handler)
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logger.exception("failed", extra={"order": 7}, stack_info=True)
    (line,) = lines(file)
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ZeroDivisionError: division by zero")
    assert "test_an_exception_is_there_with_its_trace" in line["stack"]
    assert line["order"] == 7


def test_no_exception_at_hand_is_none(logger, file):
    logger.error("failed", exc_info=True)
    assert "exception" not in lines(file)[0]


@BOTH
def test_ids_of_the_span_of_opentelemetry_if_the_program_has_loaded_it(
    kind, handler, file, monkeypatch
):
    """A stand-in for `opentelemetry.trace`: the package needs nothing but the standard library."""
    valid = types.SimpleNamespace(is_valid=True, trace_id=0xABC, span_id=0xDEF)
    none = types.SimpleNamespace(is_valid=False, trace_id=0, span_id=0)
    now = iter([valid, none])
    api = types.ModuleType("opentelemetry.trace")
    api.get_current_span = lambda: types.SimpleNamespace(get_span_context=lambda: next(now))
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", api)
    logger = logger_of(kind, handler)
    logger.info("within")
    logger.info("without")
    within, without = lines(file)
    assert (within["trace_id"], within["span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert "trace_id" not in without


# Values that JSON has no form for, and worse ones


class Raises:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Loud(str):
    pass


CIRCLE = {"name": "circle"}
CIRCLE["itself"] = [CIRCLE, CIRCLE]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (-(2**63), -(2**63)),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        ([1, {"x": math.inf}], [1, {"x": "Infinity"}]),
        (Loud("text"), "text"),
        (uuid.UUID(int=7), str(uuid.UUID(int=7))),
        (decimal.Decimal("1.10"), "1.10"),
        (datetime.date(2026, 11, 26), "2026-11-26"),
        (b"caf\xc3\xa9 \xff", "café \\xff"),
        ({1}, [1]),
        ({(1, 2): 3, 4: 5}, {"(1, 2)": 3, "4": 5}),
        (CIRCLE, {"name": "circle", "itself": ["...", "..."]}),
        (Raises(), "<Raises: RuntimeError>"),
        ([1, Raises()], [1, "<Raises: RuntimeError>"]),
        ("half \udcff of a pair", "half \ufffd of a pair"),
        ("\U0001f600\x00\n\x1b", "\U0001f600\x00\n\x1b"),
    ],
    ids=lambda value: type(value).__name__,
)
@BOTH
def test_every_value_is_written(kind, handler, file, value, expected):
    logger_of(kind, handler).info("x", extra={"value": value, "behind": 1})
    (line,) = lines(file)
    assert (line["value"], line["behind"]) == (expected, 1)


@BOTH
def test_a_number_of_more_digits_than_python_writes_and_a_nest_deeper_than_it_goes(
    kind, handler, file
):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    logger_of(kind, handler).info("x", extra={"large": 10**5000, "deep": deep})
    assert lines(file)[0]["large"] in (hex(10**5000), 10**5000)  # Python 3.10.0 has no limit


@BOTH
def test_values_that_do_not_fit_the_message_are_written_beside_it(kind, handler, file):
    logger = logger_of(kind, handler)
    logger.info("%d of %s", "many")
    logger.info("%s", Raises())
    logger.info(Raises())
    logger.info("half \ud800")
    assert [line["message"] for line in lines(file)] == [
        '"%d of %s" % ["many"]',
        '"%s" % ["<Raises: RuntimeError>"]',
        '"<Raises: RuntimeError>" % []',
        "half \ufffd",
    ]


@BOTH
def test_a_line_longer_than_logwax_takes_is_cut(kind, handler, file):
    logger = logger_of(kind, handler)
    logger.info("x" * 1_500_000, extra={"order": 7, "list": ["y" * 200_000]})
    logger.info("many", extra={f"field {n}": "z" * 100 for n in range(12_000)})
    assert max(map(len, file.read_bytes().splitlines())) <= LONGEST
    long, many = lines(file)
    assert long["message"].startswith("x" * 100_000)
    assert long["message"].endswith("... (1500000 characters)")
    assert long["order"] == 7
    assert many["message"] == "many"


def test_fields_of_ever_new_names_take_no_memory_for_ever(logger, file):
    for number in range(5_000):
        logger.info("x", extra={f"key {number}": number})
    assert lines(file)[-1]["key 4999"] == 4999
    from logwax_capture import handler as module

    assert len(module._SHAPES) <= 1_000


# The file, and what others do to it


def test_a_file_that_cannot_be_opened_is_told_when_the_handler_is_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        LogwaxHandler(tmp_path / "nowhere" / "app.log")


@pytest.mark.parametrize("rotated_by", ["rename", "rename and create", "copy and truncate"])
def test_after_a_rotation_lines_go_into_the_file_of_that_name(
    logger, file, tmp_path, wait_for, rotated_by
):
    old = tmp_path / "app.log.1"
    logger.info("first")
    if rotated_by == "copy and truncate":
        old.write_bytes(file.read_bytes())
        os.truncate(file, 0)
    else:
        file.rename(old)
    if rotated_by == "rename and create":
        file.touch()
    count = 0

    def arrived():
        nonlocal count
        logger.info("line %d", count)
        count += 1
        return file.exists() and file.stat().st_size

    wait_for(arrived, "a line in the new file")
    expected = ["first", *(f"line {number}" for number in range(count))]
    assert [line["message"] for line in lines(old, file)] == expected


def test_a_file_that_was_removed_is_made_anew_and_nothing_is_said_to_be_lost(
    logger, handler, file, wait_for
):
    logger.info("first")
    file.unlink()
    wait_for(lambda: logger.info("x") or file.exists(), "a new file")
    assert (handler.lost, handler.fallen_back) == (0, 0)


def test_a_line_for_a_file_that_is_gone_with_its_directory_is_told_to_be_lost(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "stderr", None)
    (tmp_path / "logs").mkdir()
    handler = LogwaxHandler(tmp_path / "logs" / "app.log")
    (tmp_path / "logs" / "app.log").unlink()
    (tmp_path / "logs").rmdir()
    handler.handle(logging.makeLogRecord({"msg": "x", "created": 4e9}))
    assert handler.lost == 1
    (tmp_path / "logs").mkdir()
    handler.handle(logging.makeLogRecord({"msg": "y", "created": 4e9}))
    handler.close()
    assert [line["message"] for line in lines(tmp_path / "logs" / "app.log")] == ["y"]


def test_a_clock_that_goes_back_does_not_keep_it_from_looking(handler, file, tmp_path):
    handler.handle(logging.makeLogRecord({"msg": "future", "created": 4e9}))
    file.rename(tmp_path / "app.log.1")
    handler.handle(logging.makeLogRecord({"msg": "present", "created": 1.8e9}))
    assert [line["message"] for line in lines(file)] == ["present"]


def test_half_a_line_that_a_crash_has_left_spoils_no_other(file):
    file.write_bytes(b'{"timestamp":"2026-11-26T15:40:00.00')
    handler = LogwaxHandler(file)
    logger_of(logging.Logger, handler).info("x")
    handler.close()
    half, line = file.read_bytes().splitlines()
    assert (half, json.loads(line)["message"]) == (b'{"timestamp":"2026-11-26T15:40:00.00', "x")


def test_lines_come_after_the_handler_was_closed(logger, handler, file):
    logger.info("before")
    handler.close()
    logger.info("after")
    assert [line["message"] for line in lines(file)] == ["before", "after"]


def test_closing_the_numbers_of_all_files_does_not_stop_it_nor_spoil_another_file(tmp_path):
    code = """if True:
    import logging, os, sys
    from logwax_capture.handler import LogwaxHandler
    directory = sys.argv[1]
    logging.basicConfig(handlers=[LogwaxHandler(f"{directory}/app.log")], level=logging.INFO)
    logging.info("before")
    os.closerange(3, 100)
    taken = [os.open(f"{directory}/other", os.O_RDWR | os.O_CREAT) for _ in range(20)]
    record = logging.makeLogRecord({"msg": "after", "created": 4e9, "levelno": 20})
    logging.getLogger().handle(record)
    for number in taken:
        os.fstat(number)  # raises if somebody has closed it
    """
    program = run(code, tmp_path)
    assert program.wait(30) == 0
    assert [line["message"] for line in lines(tmp_path / "app.log")] == ["before", "after"]
    assert (tmp_path / "other").read_bytes() == b""


def test_what_the_last_functions_of_a_program_log_is_there(tmp_path):
    code = """if True:
    import atexit, logging, sys
    atexit.register(lambda: logging.info("at exit"))
    atexit.register(logging.shutdown)
    from logwax_capture.handler import LogwaxHandler
    logging.basicConfig(handlers=[LogwaxHandler(sys.argv[1])], level=logging.INFO)
    """
    program = run(code, tmp_path / "app.log", stderr=subprocess.PIPE)
    assert program.communicate(timeout=30)[1] == ""
    assert [line["message"] for line in lines(tmp_path / "app.log")] == ["at exit"]


def test_a_dictionary_can_configure_it(file):
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "file": {"class": "logwax_capture.handler.LogwaxHandler", "filename": str(file)}
        },
        "loggers": {"configured": {"handlers": ["file"], "level": "INFO", "propagate": False}},
    }
    logging.config.dictConfig(config)
    logger = logging.getLogger("configured")
    logger.info("x")
    assert [line["logger"] for line in lines(file)] == ["configured"]
    logger.handlers.pop().close()


@BOTH
def test_filters_of_the_handler_are_asked_and_may_add_fields(kind, handler, file):
    def only_paid(record):
        record.seen = True
        return "paid" in record.msg

    handler.addFilter(only_paid)
    logger = logger_of(kind, handler)
    logger.info("paid")
    logger.info("open")
    assert [(line["message"], line["seen"]) for line in lines(file)] == [("paid", True)]


# No room


def test_without_room_on_the_disk_lines_go_to_stderr_and_are_counted():
    code = """if True:
    import logging
    from logwax_capture.handler import LogwaxHandler
    handler = LogwaxHandler("/dev/full")
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    for number in range(3):
        logging.info("line %d", number)
    print(handler.fallen_back, handler.lost)
    """
    program = run(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = program.communicate(timeout=30)
    messages = [json.loads(line)["message"] for line in err.splitlines()]
    assert (out, messages) == ("3 0\n", ["line 0", "line 1", "line 2"])


def test_nobody_waits_for_a_stderr_that_nobody_reads():
    code = """if True:
    import logging
    from logwax_capture.handler import LogwaxHandler
    handler = LogwaxHandler("/dev/full")
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    for number in range(1000):
        logging.info("x" * 1000)
    print(handler.fallen_back + handler.lost, handler.lost > 0, flush=True)
    """
    program = run(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert program.wait(30) == 0
    finally:
        program.kill()
        out, _ = program.communicate()
    assert out == "1000 True\n"


def test_a_line_that_fits_by_half_only_spoils_no_other(tmp_path):
    """A limit on the size of files cuts a write as a full disk does."""
    code = f"""if True:
    import logging, resource, sys
    from logwax_capture.handler import LogwaxHandler
    handler = LogwaxHandler(sys.argv[1])
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.info("first")
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, {resource.RLIM_INFINITY}))
    logging.info("second")
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, {resource.RLIM_INFINITY}))
    logging.info("third")
    print(handler.fallen_back)
    """
    file = tmp_path / "app.log"
    program = run(code, file, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = program.communicate(timeout=30)
    assert (out, json.loads(err)["message"]) == ("1\n", "second")
    first, half, third = file.read_bytes().splitlines()
    assert [json.loads(line)["message"] for line in (first, third)] == ["first", "third"]
    assert 0 < len(half) < len(first), "the write was cut in the midst of the line"


def test_a_stderr_that_is_no_file_loses_what_the_disk_does_not_take(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    handler = LogwaxHandler("/dev/full")
    logger_of(logging.Logger, handler).info("x")
    handler.close()
    assert (handler.fallen_back, handler.lost) == (0, 1)


# Threads, forks, processes


def test_no_fork_under_load_ends_in_a_deadlock(file, soak):
    forks = 10_000 if soak else 100
    code = """if True:
    import logging, os, sys, threading
    from logwax_capture.handler import LogwaxHandler, LogwaxLogger
    logging.basicConfig(handlers=[LogwaxHandler(sys.argv[1])], level=logging.INFO)
    logging.setLoggerClass(LogwaxLogger)
    logger = logging.getLogger("child")
    counts, over = [0] * 4, threading.Event()
    def load(thread):
        while not over.is_set():
            logging.info("load")
            counts[thread] += 1
    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for number in range(int(sys.argv[2])):
        child = os.fork()
        if not child:
            (logger if number % 2 else logging).info("child", extra={"pid": os.getpid()})
            os._exit(0)
        os.waitpid(child, 0)
    over.set()
    for thread in threads:
        thread.join()
    print(sum(counts))
    """
    program = run(code, file, forks, stdout=subprocess.PIPE)
    out, _ = program.communicate(timeout=600 if soak else 60)
    found = lines(file)
    children = [line for line in found if line["message"] == "child"]
    assert len(children) == forks
    assert all(line["process"] == line["pid"] for line in children)
    assert len(found) - forks == int(out)


def test_every_call_of_eight_processes_that_returned_is_one_row_through_rotations_and_kills(
    tmp_path, soak
):
    """A process notes each call that has returned in memory that outlives it."""
    code = """if True:
    import logging, mmap, os, sys
    from logwax_capture import handler
    kind, file, notes, number = sys.argv[1:]
    logger = getattr(handler, kind, None) or logging.Logger
    logger = logger("load")
    logger.addHandler(handler.LogwaxHandler(file))
    returned = mmap.mmap(os.open(notes, os.O_RDWR), 8)
    count = 0
    while True:
        logger.info("line", extra={"run": int(number), "count": count, "fill": "x" * (count % 300)})
        count += 1
        returned[:] = count.to_bytes(8, "little")
    """
    file, kills = tmp_path / "app.log", 20 if soak else 3
    kinds = ("Logger", "LogwaxLogger")
    running, notes = [], []

    def start():
        notes.append(tmp_path / f"notes.{len(notes)}")
        notes[-1].write_bytes(bytes(8))
        running.append(run(code, kinds[len(notes) % 2], file, notes[-1], len(notes) - 1))

    def returned(number):
        return int.from_bytes(notes[number].read_bytes(), "little")

    for _ in range(8):
        start()
    for kill in range(kills):
        while returned(len(notes) - 1) < 300:
            assert running[-1].poll() is None
        victim = running.pop(kill % 3)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        if file.exists():
            file.rename(tmp_path / f"app.log.{kill}")
        if kill % 2:
            file.touch()
        start()
    for process in running:
        process.kill()
        process.wait()
    seen = {}
    for log in tmp_path.glob("app.log*"):
        for line in log.read_bytes().splitlines():
            if line.endswith(b"}"):  # or it was written by half when its writer was killed
                row = json.loads(line)
                seen.setdefault(row["run"], []).append(row["count"])
    for number in range(len(notes)):
        counts = sorted(seen.get(number, []))
        assert counts == list(range(len(counts)))
        assert returned(number) <= len(counts) <= returned(number) + 1


def test_a_signal_may_log_while_its_thread_does(logger, file):
    """No lock is taken, so none can be taken twice."""
    rung = 0

    def ring(*_):
        nonlocal rung
        rung += 1
        logger.info("signal")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        count = 0
        while rung < 50:
            logger.info("thread")
            count += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(lines(file)) == count + rung


def test_files_are_closed_when_they_are_not_needed_any_more(file, tmp_path):
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    handler = LogwaxHandler(file)
    for number in range(20):
        handler.handle(logging.makeLogRecord({"msg": "x", "created": number * 10.0}))
        file.rename(tmp_path / f"app.log.{number}")
    handler.close()
    assert len(os.listdir("/proc/self/fd")) == before


# LogwaxLogger


def test_another_handler_a_filter_or_a_factory_gets_its_record(handler, file, monkeypatch):
    class Kept(logging.Handler):
        def __init__(self):
            super().__init__()
            self.records = []

        def emit(self, record):
            self.records.append(record)

    kept = Kept()
    logger = logger_of(LogwaxLogger, handler, kept)
    logger.info("for two")
    (record,) = kept.records
    assert (record.filename, record.funcName) == ("test_handler.py", record.funcName)
    assert record.funcName == "test_another_handler_a_filter_or_a_factory_gets_its_record"

    logger.removeHandler(kept)
    logger.addFilter(lambda record: record.msg != "refused")
    logger.info("refused")
    logger.filters.clear()

    def factory(*arguments, **named):
        made = logging.LogRecord(*arguments, **named)
        made.tenant = "t-1"
        return made

    monkeypatch.setattr(logging, "_logRecordFactory", factory)
    logger.info("made")
    found = lines(file)
    assert [line["message"] for line in found] == ["for two", "made"]
    assert found[1]["tenant"] == "t-1"


def test_it_respects_levels_and_what_parents_have(handler, file):
    parent = logger_of(logging.Logger, handler)
    child = LogwaxLogger("shop.orders.paid", logging.INFO)
    child.parent = parent
    child.debug("below the logger's level")
    handler.setLevel(logging.WARNING)
    child.info("below the handler's level")
    child.warning("written")
    child.propagate = False
    child.addHandler(logging.NullHandler())
    child.warning("kept to itself")
    child.disabled = True
    child.propagate = True
    child.handlers.clear()
    child.warning("disabled")
    assert [line["message"] for line in lines(file)] == ["written"]


def test_without_a_handler_it_does_as_logging_does(capsys, monkeypatch):
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler(sys.stderr))
    LogwaxLogger("alone").warning("heard")
    assert capsys.readouterr().err == "heard\n"

"""`logwax audit`: what was found of every file, and of all of them."""

from __future__ import annotations

from collections.abc import Iterator

from cli.commands import Event
from cli.commands import run as run_command
from cli.waiting import with_progress
from connectors.saying import shown

_FIGURES = ("lines", "stored", "dead", "dropped", "expired", "waiting")
_GONE = "not there any more, it was read up to byte"
_GONE_SHOWN = 100
_FINDINGS = {
    "missing": "not stored",
    "twice": "stored more than once",
    "changed": "other bytes than those that were stored",
    "stray": "stored, but no line begins there",
    "doubt": "in doubt: nobody has said whether it is stored",
}


def run() -> int:
    """Print what was found; return the exit code: 0 only when all is accounted for."""
    code = run_command("audit", lambda events: _show(with_progress(events, "auditing")))
    if not code:
        print("All is accounted for.")
    return code


def _show(events: Iterator[Event]) -> None:
    gone = 0
    for event in events:
        if event["event"] == "file":
            _show_file(event)
        elif event["event"] == "gap":
            print(shown(event["detail"]))
        elif event["event"] == "gone":
            gone += 1
            if gone <= _GONE_SHOWN:
                path = shown(event["path"])
                print(f"{path} (file {event['file_id']}): {_GONE} {event['stored']:,}")
        else:
            _show_total(event)


def _show_file(found: Event) -> None:
    counts = {name: found[name]["lines"] or len(found[name]["found"]) for name in _FINDINGS}
    figures = {name: found[name] for name in _FIGURES} | counts
    known = f"file {found['file_id']}" if found["file_id"] else "not known yet"
    print(f"{shown(found['path'])} ({known}): {_figures(figures)}")
    if found["error"]:
        print(f"  {shown(found['error'])}")
    if found["is_outside"]:
        print("  no glob of LOG_PATHS covers it: nobody reads what waits in it")
    for name, meaning in _FINDINGS.items():
        for start, end, lines in found[name]["found"]:
            print(f"  {name} {start}-{end}" + (f" ({lines:,} lines)" if lines else ""), meaning)
        if found[name]["dropped"]:
            print(f"  {name}: and {found[name]['dropped']:,} ranges more")


def _show_total(total: Event) -> None:
    figures = {name: total[name] for name in (*_FIGURES, *_FINDINGS)}
    print(f"total of {total['files']:,} files: {_figures(figures)}")
    if total["gone"]:
        print(
            f"{total['gone']:,} known files are not there any more: nothing to compare, and nobody "
            "can say whether they held more than what was read. `logwax positions` names them."
        )


def _figures(figures: dict[str, int]) -> str:
    told = {name: count for name, count in figures.items() if count or name != "dropped"}
    return " ".join(f"{name}={count}" for name, count in told.items())

"""The part of the API that tells how the pipeline beside is doing, file by file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from anyio import to_thread
from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, Field

from api.days import problems
from connectors.file_rates import FileRates
from connectors.saying import shown
from connectors.status import FileStatus, SourceStatus, Status


class FileFigures(BaseModel):
    """One file that is followed."""

    path: str = Field(description="Where it is now.")
    file_id: str = Field(description="As in rows; a text, as it has many digits.")
    format: str = Field(description="The format that its lines are read in.")
    format_fit: str = Field(
        description="How it and the next best fitted when it was found out; empty: it was told."
    )
    lines_per_second: float = Field(
        description="Lines stored; those of the last half minute count most."
    )
    lag_bytes: int = Field(description="Bytes of whole lines that are not stored yet.")
    lag_seconds: float = Field(description="Time since the oldest of these was noticed.")
    dead_letter_share: float | None = Field(
        description="Share of its lines since the start that fit no format; null without lines."
    )


class PipelineFigures(BaseModel):
    """The pipeline of this process."""

    total: int = Field(description="Files that are followed.")
    lag_bytes: int = Field(description="As of a file, in all of them.")
    lag_records: int = Field(description="Events of an outbox or of Redis that are not stored yet.")
    lag_seconds: float = Field(description="Age of the oldest that is not stored yet.")
    files: list[FileFigures] = Field(description="Those that are most behind come first.")


def add_pipeline(
    app: FastAPI,
    status: Status | None,
    source: Callable[[], SourceStatus] | None,
    files: Callable[[], Sequence[FileStatus]],
    log_format: str,
) -> None:
    """Add `/pipeline`; no `status`, no `source`: there is none in this process."""

    @app.get(
        "/pipeline",
        summary="The pipeline, file by file",
        tags=["health"],
        responses=problems({422: "limit is no number.", 501: "No pipeline is in this process."}),
    )
    async def pipeline(
        limit: Annotated[int, Query(ge=1, le=10_000, description="Files to tell, at most.")] = 1000,
    ) -> PipelineFigures:
        """How far each file is stored, how fast it is, and how much of it fits no format."""
        if not (status and source):
            raise HTTPException(501, "No pipeline is in this process, only the API.")
        reading = await to_thread.run_sync(source)  # it may wait for the source's lock
        followed = sorted(files(), key=lambda file: (-file.lag_bytes, file.path))
        return PipelineFigures(
            total=reading.files,
            lag_bytes=reading.lag_bytes,
            lag_records=reading.lag_records,
            lag_seconds=reading.lag_seconds,
            files=[_figures(file, status.file_rates, log_format) for file in followed[:limit]],
        )


def _figures(file: FileStatus, rates: FileRates, log_format: str) -> FileFigures:
    found = rates.of(file.file_id)
    return FileFigures(
        path=shown(file.path),
        file_id=str(file.file_id),
        format=file.format or log_format,
        format_fit=shown(file.why),
        lines_per_second=round(found.rate, 3),
        lag_bytes=file.lag_bytes,
        lag_seconds=file.lag_seconds,
        dead_letter_share=round(found.dead / found.lines, 5) if found.lines else None,
    )

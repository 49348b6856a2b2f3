# One image for the pipeline and the log generator.
FROM python:3.11-slim AS build
WORKDIR /src
ENV PIP_CONSTRAINT=/src/constraints.txt \
    PIP_BUILD_CONSTRAINT=/src/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/logwax
COPY pyproject.toml constraints.txt README.md settings.py ./
COPY api api
COPY cli cli
COPY connectors connectors
COPY flows flows
COPY log_generator log_generator
RUN /opt/logwax/bin/python -m pip install . \
    && /opt/logwax/bin/python -m compileall -q /opt/logwax

FROM python:3.11-slim
COPY --from=build /opt/logwax /opt/logwax
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin logwax \
    && mkdir -p /var/lib/logwax \
    && chown logwax:logwax /var/lib/logwax
ENV PATH=/opt/logwax/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/var/lib/logwax \
    LOG_FILE_PATH=/var/lib/logwax/logs/api_requests.log
# A new named volume takes over this directory's owner.
VOLUME /var/lib/logwax
WORKDIR /var/lib/logwax
USER 10001:10001
STOPSIGNAL SIGTERM
CMD ["python", "-m", "bytewax.run", "flows.main"]

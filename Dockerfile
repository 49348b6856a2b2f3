# One image for the generator, the pipeline and the API, with a server as their store.
FROM python:3.11.16-slim-bookworm AS build
WORKDIR /src
ENV PIP_CONSTRAINT=/src/constraints.txt \
    PIP_BUILD_CONSTRAINT=/src/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_PYTHON=/opt/logwax/bin/python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && python -m venv --without-pip /opt/logwax
COPY pyproject.toml setup.py package.json package-lock.json constraints.txt LICENSE README.md settings.py ./
COPY api api
COPY capture/logwax_capture capture/logwax_capture
COPY cli cli
COPY connectors connectors
COPY flows flows
COPY log_generator log_generator
COPY native native
# STORE=embedded is not for containers, and its engine would be more than half of the image.
RUN pip install ".[enrich,outbox,redis]" \
    && pip uninstall --yes chdb chdb-core pandas

FROM python:3.11.16-slim-bookworm
COPY --from=build /opt/logwax /opt/logwax
# A new named volume takes over the owner of the directory it is mounted on.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin logwax \
    && install --directory --owner=logwax --group=logwax /var/lib/logwax /var/log/logwax
ENV PATH=/opt/logwax/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    STORE=clickhouse \
    DATA_DIR=/var/lib/logwax \
    LOG_FILE_PATH=/var/log/logwax/api_requests.log
WORKDIR /var/lib/logwax
USER 10001:10001
STOPSIGNAL SIGTERM
CMD ["python", "-m", "bytewax.run", "flows.main"]

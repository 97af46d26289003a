# Two images from one recipe:
#   docker build --target cpu -t hilum .          web, worker and beat
#   docker build --target gpu -t hilum-gpu .      worker with faiss-gpu, for a host with an NVIDIA GPU
FROM python:3.12-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PATH=/opt/hilum/bin:$PATH

# The packages alone, before the source, so that a change of source rebuilds nothing here.
FROM base AS packages-cpu
WORKDIR /build
COPY pyproject.toml constraints.txt ./
RUN python -m venv /opt/hilum && pip install -c constraints.txt '.[cpu,timm]'

FROM base AS packages-gpu
WORKDIR /build
COPY pyproject.toml constraints.txt ./
RUN python -m venv /opt/hilum && pip install -c constraints.txt '.[gpu,timm]'

FROM base AS runtime
ENV HILUM_ENV=production \
    HILUM_DATA_DIR=/data
# pg_dump and pg_restore for `manage.py backup`; no older than the server of docker-compose.yml
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-client && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 hilum && useradd --uid 10001 --gid hilum --create-home hilum && install -d -o hilum -g hilum /data
WORKDIR /app
VOLUME /data

FROM runtime AS cpu
COPY --from=packages-cpu /opt/hilum /opt/hilum
COPY . .
USER 10001:10001
EXPOSE 8000
CMD ["gunicorn", "portal.wsgi", "--no-control-socket", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", "--threads", "8", "--access-logfile", "/dev/null"]

FROM runtime AS gpu
COPY --from=packages-gpu /opt/hilum /opt/hilum
COPY . .
USER 10001:10001
CMD ["celery", "-A", "portal", "worker", "-P", "threads", "-Q", "gpu", "-c", "1", "-n", "gpu@%h", "-l", "INFO"]

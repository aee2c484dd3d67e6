# The product's image: operator, worker and command line. Nothing here needs BuildKit.
#   docker build -t orchestrator:dev .
# BASE is any image with Python 3.11 or newer as python3, its venv module and CA certificates included.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ARG UV_VERSION=0.13.9
# a mirror of PyPI, where there is one
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
# behind a proxy that opens TLS, put its authority's certificate into deploy/image/authorities (README.md there)
COPY deploy/image/authorities /authorities
RUN cat /etc/ssl/certs/ca-certificates.crt /authorities/*.crt > /authorities.pem 2>/dev/null || true
ENV SSL_CERT_FILE=/authorities.pem PIP_CERT=/authorities.pem PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 \
    UV_PROJECT_ENVIRONMENT=/opt/orchestrator
RUN python3 -m venv /uv && /uv/bin/pip install --quiet "uv==${UV_VERSION}"
WORKDIR /source
# what changes seldom comes first: the dependencies, exactly those of uv.lock, checked against its hashes
COPY pyproject.toml uv.lock ./
RUN /uv/bin/uv sync --frozen --no-dev --extra otel --no-install-project --python "$(command -v python3)"
COPY README.md LICENSE ./
COPY deploy/local/go deploy/local/go
COPY operator operator
COPY orchestrator orchestrator
RUN /uv/bin/uv sync --frozen --no-dev --extra otel --no-editable --python "$(command -v python3)"
# the numerical libraries' own tests: 20 MB
RUN find /opt/orchestrator/lib -type d \( -path '*/scipy/*/tests' -o -path '*/numpy/*/tests' \) -prune -exec rm -rf {} +

FROM ${BASE}
LABEL org.opencontainers.image.title="Orchestrator" \
      org.opencontainers.image.description="Durable workflows on Kubernetes: operator, worker and command line" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN echo 'orchestrator:x:65532:65532::/tmp:/usr/sbin/nologin' >>/etc/passwd
COPY --from=build /opt/orchestrator /opt/orchestrator
ENV PATH=/opt/orchestrator/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp USER=orchestrator
# a number, so that Kubernetes can see that it is not root
USER 65532:65532
WORKDIR /var/lib/orchestrator
ENTRYPOINT ["orchestrator"]
CMD ["--help"]

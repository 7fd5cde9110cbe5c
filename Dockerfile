# The gateway, the worker and the migrations in one image. Nothing is installed without a hash, nothing runs as root.
FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/tessera
COPY requirements requirements
RUN /opt/tessera/bin/pip install --require-hashes -r requirements/build.txt -r requirements/runtime.txt
COPY . .
RUN /opt/tessera/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin tessera
COPY --from=build /opt/tessera /opt/tessera
ENV PATH=/opt/tessera/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001
EXPOSE 8000
CMD ["tessera", "serve"]

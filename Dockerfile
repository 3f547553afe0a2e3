# docker build --build-arg REVISION="$(git rev-parse HEAD)" -t seasalt-exporter .
# docker run seasalt-exporter     without a configuration: the help, and how to begin
# docker run -p 9877:9877 seasalt-exporter demo --web.listen-address=:9877
# docker run -p 9877:9877 -e SEACHAT_API_KEY -v "$PWD/config:/etc/seasalt-exporter:ro" \
#   -v seasalt-state:/var/lib/seasalt-exporter seasalt-exporter serve --state.file=/var/lib/seasalt-exporter/state
#
# Mount the folder, not the file: if an editor replaces a mounted file, the container keeps the old one.
# The exporter writes nothing but its --state.file. That needs a volume that user 65534 can write to, such as
# a named one at /var/lib/seasalt-exporter. So it can run with --read-only, --cap-drop=ALL and
# --security-opt=no-new-privileges. Only the demo needs --tmpfs /tmp as well.
# The health check uses the address in the flags and the environment, over TLS if that is configured. It needs
# neither a password nor a client certificate.

# tests/pin-images writes the digest after the tag, and the update bot keeps both current.
FROM python:3.11-slim AS build
# The final image has no pip and no setuptools: the pip that installs the dependencies stays in this stage.
RUN python -m venv --without-pip /venv
COPY requirements.lock /
RUN PIP_PYTHON=/venv/bin/python pip install --no-cache-dir --no-deps --require-hashes --requirement /requirements.lock
COPY exporter/ /app/exporter/
RUN /venv/bin/python -m compileall -q /app

FROM python:3.11-slim
ARG REVISION=""
LABEL org.opencontainers.image.title="seasalt-exporter" \
      org.opencontainers.image.description="Seasalt.ai's chatbot analytics as a Prometheus scrape target" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV PATH="/venv/bin:${PATH}" \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    SEASALT_EXPORTER_REVISION=${REVISION} \
    SEASALT_EXPORTER_CONFIG_FILE=/etc/seasalt-exporter/seasalt.yml
WORKDIR /app
RUN /usr/local/bin/python -m pip uninstall --yes --root-user-action=ignore setuptools wheel pip \
 && rm -rf /usr/local/lib/python3*/ensurepip
RUN install -d -m 700 -o 65534 -g 65534 /var/lib/seasalt-exporter
# The user nobody, by number, so that Kubernetes can check runAsNonRoot.
USER 65534:65534
EXPOSE 9877
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["python", "-m", "exporter", "health"]
ENTRYPOINT ["python", "-m", "exporter"]

# syntax=docker/dockerfile:1
# One image for the gateway, the controller, the download Jobs and the simulated engine; real engines have vLLM's own.
#   docker build -t penstock .
# The base is pinned by digest; move both lines together:
#   docker buildx imagetools inspect python:3.13-slim
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY image ./image
COPY src ./src
RUN image/install.sh /opt/penstock /src

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
LABEL org.opencontainers.image.title="penstock" \
      org.opencontainers.image.description="One fleet.yaml, a production LLM-serving fleet" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/penstock /opt/penstock
# Nothing is written but to /tmp and what is mounted: the root file system is read-only where it runs.
ENV PATH=/opt/penstock/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080 8081
ENTRYPOINT ["penstock"]
CMD ["--help"]

# Builds the Glimpse image, for the CPU or for an NVIDIA GPU.
#
#   docker build -t glimpse .                                   for the CPU
#   docker build -t glimpse:cuda --build-arg DEVICE=cuda .      for an NVIDIA GPU (driver 535 or newer)
#   docker run --rm -p 8080:8080 glimpse                        runs `serve`; another command may follow the name
#
# docs/container.md says how to run it with docker, compose, Cloud Run, SageMaker and Lambda. The build needs BuildKit, the
# default since docker 23.0.
#
# --build-context model=./blip2-int4   includes that artifact instead of the embedded model
# --build-arg RUN_AS=root              for SageMaker, whose mounts only root may read
# --build-arg NODE_IMAGE=node:22-bookworm-slim@sha256:...   pins by digest; also for the other two images;
#                                      `docker buildx imagetools inspect node:22-bookworm-slim` prints the digest

ARG DEVICE=cpu
ARG NODE_IMAGE=node:22-bookworm-slim
ARG CUDA_IMAGE=nvidia/cuda:12.6.3-cudnn-runtime-ubuntu22.04
ARG ADAPTER_IMAGE=public.ecr.aws/awsguru/aws-lambda-adapter:1.0.0

# Turns Lambda events into HTTP requests; unused on other platforms.
FROM ${ADAPTER_IMAGE} AS adapter

FROM ${NODE_IMAGE} AS node

# dist/: the compiled sources.
FROM node AS compiled
WORKDIR /opt/glimpse
COPY package.json package-lock.json ./
COPY scripts/no-download scripts/no-download
# No install scripts are needed: the packages contain prebuilt binaries.
RUN --mount=type=cache,target=/var/cache/npm npm ci --ignore-scripts --no-audit --no-fund --cache /var/cache/npm
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/compile.mjs scripts/
COPY src src
RUN npm run --silent compile

# node_modules/: production packages and all optional parts, with onnxruntime's libraries for this system only.
FROM node AS packages
WORKDIR /opt/glimpse
COPY package.json package-lock.json ./
COPY scripts/no-download scripts/no-download
COPY scripts/all-parts.mjs scripts/
RUN node scripts/all-parts.mjs
RUN --mount=type=cache,target=/var/cache/npm npm ci --omit=dev --ignore-scripts --no-audit --no-fund --cache /var/cache/npm \
  && find node_modules/onnxruntime-node/bin/napi-v6 -mindepth 2 -maxdepth 2 -type d \
    ! -path "*/linux/$(node -p process.arch)" -exec rm -r {} +

# Adds onnxruntime's libraries for CUDA 12 and cuDNN 9, which other installs skip. They come from nuget.org, not from npm.
FROM packages AS packages-cuda
RUN ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install.js

# The program, without Node and node_modules.
FROM scratch AS program
COPY package.json LICENSE slack-manifest.json /
COPY models/pico /models/pico
COPY models/pico-itm /models/pico-itm
COPY models/demo /models/demo
COPY --from=compiled /opt/glimpse/dist /dist

# The embedded model, which answers and matches, built into the image so that no start builds it.
FROM packages AS built
COPY --from=program / ./
RUN node dist/cli/main.js build models/pico --with models/pico-itm --out /opt/model --precision fp32 --name glimpse-pico

# A separate stage, so that --build-context model=<folder> can replace it.
FROM scratch AS model
COPY --from=built /opt/model /

FROM node AS on-cpu
COPY --from=packages /opt/glimpse/node_modules /opt/glimpse/node_modules

FROM ${CUDA_IMAGE} AS on-cuda
RUN useradd --uid 1000 --create-home --shell /usr/sbin/nologin node
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=packages-cuda /opt/glimpse/node_modules /opt/glimpse/node_modules
ENV GLIMPSE_PROVIDER=cuda

FROM on-${DEVICE} AS glimpse
ARG RUN_AS=node
LABEL org.opencontainers.image.title="Glimpse" \
  org.opencontainers.image.description="Captions pictures and answers questions about them with BLIP-2" \
  org.opencontainers.image.licenses="MIT"
RUN install --directory --owner=node --group=node --mode=0700 /var/lib/glimpse
COPY --from=adapter /lambda-adapter /opt/extensions/lambda-adapter
WORKDIR /opt/glimpse
COPY --from=program / ./
COPY --from=model / model/
# 0.0.0.0, because 127.0.0.1 is not reachable from outside the container. The cache is in /tmp, which every platform lets a
# process write. Two arenas keep glibc from holding memory for each thread. AWS_LWA_*: the adapter waits for the model.
ENV NODE_ENV=production \
  MALLOC_ARENA_MAX=2 \
  GLIMPSE_HOST=0.0.0.0 \
  GLIMPSE_MODEL=/opt/glimpse/model \
  GLIMPSE_CACHE=/tmp/glimpse \
  GLIMPSE_STATE=/var/lib/glimpse \
  GLIMPSE_LOG=json \
  AWS_LWA_PORT=8080 \
  AWS_LWA_READINESS_CHECK_PATH=/readyz \
  AWS_LWA_READINESS_CHECK_HEALTHY_STATUS=200-399 \
  AWS_LWA_ASYNC_INIT=true
USER $RUN_AS
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${+process.env.GLIMPSE_PORT || process.env.PORT || 8080}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/opt/glimpse/dist/cli/main.js"]
CMD ["serve"]

# A generation worker on an NVIDIA GPU. onnxruntime-node's install script fetches its CUDA provider (from NuGet).
FROM node:24.9.0-bookworm-slim AS node

FROM nvidia/cuda:12.6.3-cudnn-runtime-ubuntu22.04
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
WORKDIR /app
COPY package.json package-lock.json ./
RUN node /usr/local/lib/node_modules/npm/bin/npm-cli.js ci --omit=dev --ignore-scripts --no-audit --no-fund \
  && ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install.js \
  && rm -r node_modules/node /root/.npm \
  && useradd --uid 1000 node \
  && install -d -o node /data /models
COPY assets assets
COPY src src
COPY workers workers
ENV NODE_ENV=production DATA_DIR=/data MODELS_DIR=/models EXECUTION_PROVIDER=cuda
USER node
CMD ["node", "workers/generate/main.ts"]

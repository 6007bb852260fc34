# A generation worker on an NVIDIA GPU. onnxruntime-node's install script fetches its CUDA provider (from NuGet), which it calls
# cuda12; since 1.27 the runtime's packages are built for CUDA 13 and cuDNN 9.
FROM node:24.9.0-bookworm-slim AS node

FROM nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
WORKDIR /app
COPY package.json package-lock.json ./
RUN node /usr/local/lib/node_modules/npm/bin/npm-cli.js ci --omit=dev --ignore-scripts --no-audit --no-fund \
  && ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install.js \
  && rm -r node_modules/node /root/.npm \
  && userdel --remove ubuntu \
  && useradd --uid 1000 node \
  && install -d -o node /data /models
COPY assets assets
COPY src src
COPY workers workers
ENV NODE_ENV=production DATA_DIR=/data MODELS_DIR=/models EXECUTION_PROVIDER=cuda
USER node
CMD ["node", "workers/generate/main.ts"]

# The worker that trains ControlNets: it reads bases from /models and writes what it has trained there.
FROM node:24.9.0-bookworm-slim
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -r node_modules/node \
  && npm cache clean --force \
  && install -d -o node /data /models
COPY assets assets
COPY src src
COPY workers workers
ENV NODE_ENV=production DATA_DIR=/data MODELS_DIR=/models
USER node
CMD ["node", "workers/train/main.ts"]

# A webhook worker: Redis behind, the world in front.
FROM node:24.9.0-bookworm-slim
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -r node_modules/onnxruntime-node node_modules/node \
  && npm cache clean --force
COPY src src
COPY workers/deliver workers/deliver
ENV NODE_ENV=production
USER node
CMD ["node", "workers/deliver/main.ts"]

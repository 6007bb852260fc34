# The gateway: HTTP in front, Redis and the data folder behind. It needs no runtime for networks.
FROM node:24.9.0-bookworm-slim
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -r node_modules/onnxruntime-node node_modules/node \
  && npm cache clean --force \
  && install -d -o node /data
COPY src src
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080 DATA_DIR=/data
USER node
EXPOSE 8080
CMD ["node", "src/gateway/server.ts"]

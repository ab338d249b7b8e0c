# A CPU image, and with the wheels of torch that PyPI has, which are for CUDA, a CUDA image.
#
#     docker build -t introshift:cpu .
#     docker build -t introshift:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# of pyproject.toml: "hub", "hub,ui", ...
ARG EXTRAS=hub
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_PYTHON=/opt/introshift/bin/python
# torch by itself: a layer that stays as it is while the code changes
RUN python -m venv --without-pip /opt/introshift \
    && pip install "torch>=2.6,<3" "torchvision>=0.21,<1" --index-url "${TORCH_INDEX}"
COPY pyproject.toml README.md LICENSE ./
COPY translate translate
COPY pipelines pipelines
# What nobody needs here: libraries' own tests, and torch's headers, as there is no compiler.
# hadolint ignore=DL3013
RUN pip install ".[${EXTRAS}]" \
    && rm -rf /opt/introshift/lib/python*/site-packages/torch/include \
    && find /opt/introshift/lib -type d -name tests -prune -exec rm -rf {} +

FROM python:${PYTHON}-slim
# address of the repository
ARG SOURCE
LABEL org.opencontainers.image.title="introshift" \
    org.opencontainers.image.description="Unsupervised image translation for two folders of pictures" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.source="${SOURCE}"
COPY --from=build /opt/introshift /opt/introshift
RUN useradd --uid 10001 --no-create-home --home-dir /data introshift \
    && install --directory --owner=introshift --group=introshift /data
# caches of models and of typefaces' names lie with the work
ENV PATH=/opt/introshift/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/data/.cache
USER 10001:10001
VOLUME /data
WORKDIR /data
ENTRYPOINT ["introshift"]
CMD ["--help"]

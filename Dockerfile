# maskmatch in a container; studies and all that is to last lie in the volume /studies. compose.yaml runs it locked down.
#   docker build -t maskmatch-med .                                        for the processor
#   docker build -t maskmatch-med:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#   docker run --rm -v studies:/studies maskmatch-med train hippocampus --minutes 15
# Without a command it opens the app, which listens on a network with a password alone: docs/container.md.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python3 -m venv /opt/maskmatch
ENV PATH=/opt/maskmatch/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt ./
RUN pip install --no-deps --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml MANIFEST.in README.md LICENSE THIRD_PARTY.md ./
COPY maskmatch_med ./maskmatch_med
COPY app ./app
RUN pip install -c constraints.txt .

FROM ${BASE}
RUN useradd --uid 1000 --user-group --home-dir /tmp --no-create-home maskmatch \
    && install -d -o maskmatch -g maskmatch /studies
COPY --from=build /opt/maskmatch /opt/maskmatch
# Nothing but /studies and /tmp is written to, so the root may be read-only.
ENV PATH=/opt/maskmatch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    XDG_CONFIG_HOME=/tmp/config \
    XDG_STATE_HOME=/tmp/state \
    MPLCONFIGDIR=/tmp/matplotlib \
    TORCH_HOME=/tmp/torch \
    TORCHINDUCTOR_CACHE_DIR=/tmp/inductor \
    TRITON_CACHE_DIR=/tmp/triton \
    STREAMLIT_BROWSER_GATHER_USAGE_STATS=false
USER 1000:1000
WORKDIR /studies
VOLUME /studies
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://localhost:8501/_stcore/health', timeout=8)"]
ENTRYPOINT ["maskmatch"]
CMD ["app", "--folder", "/studies", "--no-browser", "--host", "0.0.0.0", "--password-file", "/studies/.password"]

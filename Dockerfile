# maskmatch on the processor: small, without CUDA. Studies live in the volume /studies.
#   docker build -t maskmatch-med .
#   docker run --rm -v "$PWD/studies:/studies" maskmatch-med train hippocampus --minutes 15
FROM python:3.11-slim AS build
RUN python -m venv /opt/maskmatch
ENV PATH=/opt/maskmatch/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt ./
RUN pip install --no-deps --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY maskmatch_med ./maskmatch_med
COPY app ./app
RUN pip install -c constraints.txt .

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 maskmatch && install -d -o maskmatch -g maskmatch /studies
COPY --from=build /opt/maskmatch /opt/maskmatch
ENV PATH=/opt/maskmatch/bin:$PATH PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib
USER maskmatch
WORKDIR /studies
VOLUME /studies
ENTRYPOINT ["maskmatch"]
CMD ["--help"]

# docker build -t posebench .                              on a processor
# docker build -t posebench --build-arg DEVICE=cuda .      with CUDA; run with --gpus all
# docker run --rm -v "$PWD:/data" posebench transfer --pose scan.ply --identity character.obj --out out.obj
FROM python:3.12-slim

ARG DEVICE=cpu
WORKDIR /opt/posebench
COPY pyproject.toml README.md LICENSE NOTICE posebench_pytest.py constraints.txt ./
COPY posebench posebench
COPY attacks attacks
COPY benchmark benchmark
COPY defenses defenses
COPY victims victims

# PyPI's torch for Linux brings CUDA along; the processor's is a fifth of its size.
RUN if [ "$DEVICE" = cpu ]; then index=https://download.pytorch.org/whl/cpu; else index=https://pypi.org/simple; fi && \
    pip install --no-cache-dir --extra-index-url "$index" --constraint constraints.txt . && \
    rm -rf build

WORKDIR /data
USER nobody
ENV HOME=/tmp
ENTRYPOINT ["posebench"]
CMD ["--help"]
